import type { Segment } from "./segment.ts";

const windowBytes = 256 * 1024;

/** The part of a segment's entries that is in memory; it moves forward. */
export class EntryWindow {
  bytes: Buffer = Buffer.alloc(0);
  start = 0;

  constructor(
    private readonly segment: Segment,
    private readonly read: (segment: Segment, at: number, length: number) => Promise<Buffer>,
  ) {}

  has(at: number): boolean {
    const inside = at - this.start;
    if (inside < 0 || inside + 4 > this.bytes.length) return false;
    return inside + this.bytes.readUInt32LE(inside) <= this.bytes.length;
  }

  async load(at: number): Promise<void> {
    const end = this.segment.header.indexAt;
    this.start = at;
    this.bytes = await this.read(this.segment, at, Math.max(0, Math.min(windowBytes, end - at)));
    if (this.has(at) || this.bytes.length < 4) return;
    const length = this.bytes.readUInt32LE(0);
    if (length <= end - at) this.bytes = await this.read(this.segment, at, length);
  }
}
