/** What one turn of a connection is written into; longer output leaves in several writes. */
export const outputBufferBytes = 262_144;
const keptMax = 16;

/** Output buffers of a listener: an idle connection holds none. A fresh 256 KiB buffer a turn costs some 20 us. */
export class BufferPool {
  private readonly free: Buffer[] = [];

  take(): Buffer {
    return this.free.pop() ?? Buffer.allocUnsafeSlow(outputBufferBytes);
  }

  give(buffer: Buffer): void {
    if (this.free.length < keptMax && buffer.length === outputBufferBytes) this.free.push(buffer);
  }
}
