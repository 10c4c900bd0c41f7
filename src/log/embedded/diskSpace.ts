import type { Clock } from "../../base/clock.ts";
import { MillraceError } from "../../base/errors.ts";
import type { FileSystem } from "../../base/fileSystem.ts";

/** While something is written the file system is asked this often: others write there too. */
const ASK_EVERY_MS = 1000;

/**
 * Keeps a reserve on the disk: before it would be used up nothing is appended any more, so that the files which reading, retention and the
 * catalog need can still be written. Appends go on by themselves when there is room again.
 */
export class DiskSpace {
  private freeBytes = 0;
  private askedAtMs = Number.NEGATIVE_INFINITY;
  private asking: Promise<void> | undefined;

  constructor(
    private readonly fileSystem: FileSystem,
    private readonly clock: Clock,
    private readonly directory: string,
    private readonly reserveBytes: number,
  ) {}

  /** Throws LOG_DISK_FULL if these bytes would go into the reserve. Costs a system call a second, and one each time there is no room. */
  async take(bytes: number): Promise<void> {
    if (this.mustAsk(bytes)) await this.ask();
    if (!this.fits(bytes)) throw diskFull(this.directory, this.freeBytes, this.reserveBytes);
    this.freeBytes -= bytes;
  }

  /** False: nothing is taken, the file system must be asked. */
  takeAtOnce(bytes: number): boolean {
    if (this.mustAsk(bytes)) return false;
    this.freeBytes -= bytes;
    return true;
  }

  /** Is the reserve untouched? */
  async hasRoom(): Promise<boolean> {
    if (this.mustAsk(0)) await this.ask();
    return this.fits(0);
  }

  private mustAsk(bytes: number): boolean {
    return this.clock.monotonicMs() - this.askedAtMs >= ASK_EVERY_MS || !this.fits(bytes);
  }

  private fits(bytes: number): boolean {
    return this.freeBytes - bytes >= this.reserveBytes;
  }

  private ask(): Promise<void> {
    this.asking ??= this.fileSystem.freeBytes(this.directory).then(
      (free) => {
        this.freeBytes = free;
        this.askedAtMs = this.clock.monotonicMs();
        this.asking = undefined;
      },
      () => {
        this.freeBytes = Number.MAX_SAFE_INTEGER; // it cannot tell: a write will
        this.asking = undefined;
      },
    );
    return this.asking;
  }
}

export const diskFull = (where: string, freeBytes: number | undefined, reserveBytes: number, cause?: unknown): MillraceError =>
  new MillraceError(
    "LOG_DISK_FULL",
    freeBytes === undefined
      ? "The disk is full; nothing is appended."
      : `The disk has ${freeBytes} bytes left, and ${reserveBytes} are kept in reserve; nothing is appended.`,
    {
      domain: "external",
      retryable: true,
      where,
      cause,
      hint: "Make room, or let retention.ms or retention.bytes do it; appends then go on by themselves.",
    },
  );
