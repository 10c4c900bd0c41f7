import type { File } from "../../../base/fileSystem.ts";
import type { ReadSource } from "./journalReader.ts";

/** A file of the journal and what keeps it. It can be planned for before it is there. */
export class JournalFile implements ReadSource {
  /** Reasons not to reuse it: copies that live, dedupe ids that are remembered, reads under way. */
  pins = 0;
  /** What lived in it has moved; the pins that are left are about to be released. */
  moved = false;
  /** Damage was found in it: it is put aside, not used again. */
  damaged = false;
  /** A write or sync in it failed: no write into it is trusted any more. */
  failed = false;
  /** What lies from here on was cut off: it never counts. */
  countsTo = Number.POSITIVE_INFINITY;
  readonly ready: Promise<File>;

  constructor(
    readonly sequence: number,
    readonly headerCrc: number,
    readonly path: string,
    ready: Promise<File>,
    /** Its last pin was released. */
    private readonly unpinned: () => void,
  ) {
    this.ready = ready;
    ready.catch(() => undefined); // whoever needs the file gets the failure
  }

  unpin(): void {
    if (--this.pins === 0) this.unpinned();
  }

  async use<T>(task: (handle: File) => Promise<T>): Promise<T> {
    this.pins++;
    try {
      return await task(await this.ready);
    } finally {
      this.unpin();
    }
  }
}

/** Where the next chunk begins. */
export interface JournalTail {
  readonly file: JournalFile;
  readonly offset: number;
  readonly chain: number;
}
