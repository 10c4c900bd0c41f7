import type { Socket } from "node:net";
import { type BufferPool, outputBufferBytes } from "./bufferPool.ts";

const nothing = Buffer.alloc(0);

/** What goes to one client: gathered in one buffer, and handed to the socket in one write at the end of the turn. */
export class Output {
  /** Where `reserve` made room. */
  bytes: Buffer = nothing;
  /** Writes so far: what a heartbeat needs to know. */
  writes = 0;
  /** A consumer was refused because of this socket: whoever gets it free again wakes the consumers. */
  deliveryStalled = false;
  private length = 0;
  /** What the kernel has not taken yet. */
  private socketBytes = 0;
  private closed = false;

  constructor(
    private readonly socket: Pick<Socket, "write" | "writableLength">,
    private readonly pool: BufferPool,
    private readonly deliveryBytesMax: number,
    /** The first byte of a turn was written. */
    private readonly begun: () => void,
  ) {}

  get waitingBytes(): number {
    return this.length + this.socketBytes;
  }

  mayDeliver(): boolean {
    if (this.length + this.socketBytes < this.deliveryBytesMax) return true;
    this.deliveryStalled = true;
    return false;
  }

  /** Room for `count` bytes in `bytes`, at the position returned; all of them must be filled in. */
  reserve(count: number): number {
    if (this.length + count > this.bytes.length) this.makeRoom(count);
    if (this.length === 0) this.begun();
    const at = this.length;
    this.length += count;
    return at;
  }

  send(frame: Buffer): void {
    const at = this.reserve(frame.length);
    this.bytes.set(frame, at);
  }

  private makeRoom(count: number): void {
    this.flush();
    this.bytes = count > outputBufferBytes ? Buffer.allocUnsafeSlow(count) : this.pool.take();
  }

  flush(): void {
    const { bytes, length } = this;
    if (bytes === nothing) return;
    this.bytes = nothing;
    this.length = 0;
    if (length === 0 || this.closed) return this.pool.give(bytes);
    this.writes++;
    // a socket that is behind keeps what it is given: a whole buffer for one confirm a turn would be 10,000 times what is counted
    const copied = this.socket.writableLength > 0 && length * 2 < bytes.length;
    const written = bytes.subarray(0, length);
    this.socket.write(copied ? Buffer.from(written) : written);
    this.socketBytes = this.socket.writableLength;
    // the kernel took all of it at once: nobody looks at the buffer any more
    if (copied || this.socketBytes === 0) this.pool.give(bytes);
  }

  /** The socket has written all that waited. */
  drained(): void {
    this.socketBytes = 0;
  }

  /** The socket is gone: what is written from now on goes nowhere. */
  close(): void {
    this.closed = true;
    this.flush();
  }
}
