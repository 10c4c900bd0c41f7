import fs from "node:fs";

const FILE_BYTES = 256 * 1024 * 1024;
const BUFFER_BYTES = 4 * 1024 * 1024;
const ENTRY_HEADER_BYTES = 16;

export interface CommitWaiter {
  /** What was appended until now is in the commit that starts; what comes later is in the next one. */
  commitBegins(): void;
  committed(): void;
}

/**
 * Group commit on one zero-filled file that is written round and round: two buffers, one write and one fdatasync in flight; what came
 * meanwhile goes in the next. Nothing is ever read back: this is the least that a durable broker has to do.
 */
export class BaselineJournal {
  private readonly file: number;
  private position = 0;
  private filling = Buffer.allocUnsafe(BUFFER_BYTES);
  private spare = Buffer.allocUnsafe(BUFFER_BYTES);
  private used = 0;
  private committing = false;
  private waiting: CommitWaiter[] = [];

  constructor(path: string) {
    this.file = fs.openSync(path, "w");
    const zeros = Buffer.alloc(16 * 1024 * 1024);
    for (let at = 0; at < FILE_BYTES; at += zeros.length) fs.writeSync(this.file, zeros, 0, zeros.length, at);
    fs.fsyncSync(this.file);
  }

  append(content: Buffer): void {
    const end = this.used + ENTRY_HEADER_BYTES + content.length;
    if (end > this.filling.length) {
      const larger = Buffer.allocUnsafe(Math.max(end, this.filling.length * 2));
      this.filling.copy(larger, 0, 0, this.used);
      this.filling = larger;
    }
    this.filling.writeUInt32LE(content.length, this.used);
    content.copy(this.filling, this.used + ENTRY_HEADER_BYTES);
    this.used = end;
  }

  /** Once a commit, not once a message. */
  waitForNextCommit(waiter: CommitWaiter): void {
    this.waiting.push(waiter);
  }

  /** At the end of a turn of the loop: starts a commit unless one is in flight, which then starts the next by itself. */
  commit(): void {
    if (this.committing || this.waiting.length === 0) return;
    this.committing = true;
    const [bytes, length, waiting] = [this.filling, this.used, this.waiting];
    this.filling = this.spare;
    this.spare = bytes;
    this.used = 0;
    this.waiting = [];
    for (const waiter of waiting) waiter.commitBegins();
    if (this.position + length > FILE_BYTES) this.position = 0;
    fs.write(this.file, bytes, 0, length, this.position, (writeError) => {
      if (writeError) throw writeError;
      fs.fdatasync(this.file, (syncError) => {
        if (syncError) throw syncError;
        this.position += length;
        this.committing = false;
        for (const waiter of waiting) waiter.committed();
        this.commit();
      });
    });
  }
}
