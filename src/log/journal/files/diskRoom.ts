import { MillraceError } from "../../../base/errors.ts";
import type { Logger } from "../../../base/logger.ts";
import { isCode, saysNoRoom } from "../../../base/systemError.ts";

/** What the disk has to have room for: the next file, and the segment that makes room in the journal. */
type Need = "file" | "segment";

/** The file system, or the user's part of it; or all but the reserve. */
export const isDiskFull = (error: unknown): boolean => saysNoRoom(error) || isCode(error, "LOG_DISK_FULL");

/** What the journal lacks, and why messages are refused meanwhile: what is left of the current file is for acknowledgements. */
export class DiskRoom {
  private readonly lacking = new Set<Need>();
  private reason: MillraceError | undefined;

  constructor(
    private readonly directory: string,
    private readonly logger: Logger,
  ) {}

  /** Undefined: nothing is lacking. */
  get refusal(): MillraceError | undefined {
    return this.reason;
  }

  lacks(need: Need, cause: unknown): void {
    const { directory } = this;
    this.lacking.add(need);
    if (this.reason !== undefined) return;
    this.reason = isDiskFull(cause) ? diskFull(directory, cause) : noNextFile(directory, cause);
    this.logger.error("there is no room on the disk for more of the journal: queues take no messages until there is", { directory, cause });
  }

  found(need: Need): void {
    if (!this.lacking.delete(need) || this.lacking.size > 0) return;
    this.reason = undefined;
    this.logger.info("there is room on the disk again: queues take messages", { directory: this.directory });
  }
}

const diskFull = (where: string, cause: unknown): MillraceError =>
  new MillraceError("JOURNAL_FULL", "The disk has no room for the queues' next messages; consuming and acknowledging go on.", {
    domain: "external",
    retryable: true,
    where,
    cause,
    hint: "Free some space, or consume what is there: publishing goes on by itself then.",
  });

const noNextFile = (where: string, cause: unknown): MillraceError =>
  new MillraceError("JOURNAL_FAILED", "The next file of the queues' journal cannot be made; consuming and acknowledging go on.", {
    domain: "external",
    retryable: true,
    where,
    cause,
    hint: "Look after the disk: it is tried again, and publishing goes on by itself then.",
  });
