import type { File } from "../../base/fileSystem.ts";

/** A file of the journal and what keeps it. It can be planned for before it is there. */
export class JournalFile {
  /** Reasons not to reuse it: copies that live, dedupe ids that are remembered, reads under way. */
  pins = 0;
  readonly ready: Promise<File>;

  constructor(
    readonly sequence: number,
    readonly headerCrc: number,
    readonly path: string,
    ready: Promise<File>,
  ) {
    this.ready = ready;
    ready.catch(() => undefined); // whoever needs the file gets the failure
  }
}
