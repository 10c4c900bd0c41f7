import type { KeptContent } from "./copy.ts";

/**
 * How much content of ready messages stays in memory: so much a queue, and so much for all queues together. What finds no room
 * is read back from the journal when its turn comes.
 */
export class ContentCacheLimits {
  private usedBytes = 0;

  constructor(
    readonly queueCacheBytesMax: number,
    readonly queueCacheBytesMaxTotal: number,
  ) {}

  get used(): number {
    return this.usedBytes;
  }

  hasRoom(bytes: number): boolean {
    return this.usedBytes + bytes <= this.queueCacheBytesMaxTotal;
  }

  take(bytes: number): void {
    this.usedBytes += bytes;
  }

  release(bytes: number): void {
    this.usedBytes -= bytes;
  }
}

/** One queue's part. */
export class ContentCache {
  private usedBytes = 0;

  constructor(private readonly limits: ContentCacheLimits) {}

  hasRoom(bytes: number): boolean {
    return this.usedBytes + bytes <= this.limits.queueCacheBytesMax && this.limits.hasRoom(bytes);
  }

  take(content: KeptContent): void {
    this.usedBytes += content.content.length;
    this.limits.take(content.content.length);
  }

  release(content: KeptContent | undefined): void {
    if (content === undefined) return;
    this.usedBytes -= content.content.length;
    this.limits.release(content.content.length);
  }

  clear(): void {
    this.limits.release(this.usedBytes);
    this.usedBytes = 0;
  }
}
