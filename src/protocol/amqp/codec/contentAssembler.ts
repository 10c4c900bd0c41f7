/**
 * Puts the content of one channel's publish together when its frames come in several chunks, or between frames of
 * other channels. What comes out is what the fast path hands over: a header frame and body frames, back to back.
 * Body frames are joined up to `frameMax`, so that a body sent in frames of one byte does not take nine times its size.
 */
import { uint64 } from "./bytes.ts";
import { basicClass, FrameType, frameEnd, frameHeaderBytes, frameOverheadBytes } from "./protocol.ts";
import { ProtocolError } from "./protocolError.ts";

const nothing = Buffer.alloc(0);
/** The buffer is not kept for the channel's next message above this. */
const keptBytesMax = 8192;

export class ContentAssembler {
  private bytes: Buffer = nothing;
  private length = 0;
  private bodyLeft = 0;
  /** Where the last body frame begins; 0: there is none yet. */
  private lastFrame = 0;
  private hasHeader = false;

  constructor(
    private readonly channel: number,
    private readonly frameMax: number,
  ) {}

  /** What has come of an unfinished message. The buffer grows with it (to its double at most), not with what was announced. */
  get heldBytes(): number {
    return this.length;
  }

  get complete(): boolean {
    return this.hasHeader && this.bodyLeft === 0;
  }

  /** The content; valid until `clear`. */
  content(): Buffer {
    return this.bytes.subarray(0, this.length);
  }

  clear(): void {
    if (this.bytes.length > keptBytesMax) this.bytes = nothing;
    this.length = 0;
    this.lastFrame = 0;
    this.bodyLeft = 0;
    this.hasHeader = false;
  }

  /** A content header frame's payload. The body's size is the caller's to limit. */
  header(bytes: Buffer, start: number, end: number): void {
    if (this.hasHeader) throw new ProtocolError("UNEXPECTED_FRAME", "a second content header, a body was expected");
    const size = bodySize(bytes, start, end);
    this.hasHeader = true;
    this.bodyLeft = size;
    this.appendFrame(FrameType.header, bytes, start, end);
  }

  body(bytes: Buffer, start: number, end: number): void {
    if (!this.hasHeader) throw new ProtocolError("UNEXPECTED_FRAME", "a body frame, a content header was expected");
    const size = end - start;
    if (size > this.bodyLeft) throw new ProtocolError("FRAME_ERROR", `the body is ${size - this.bodyLeft} bytes longer than announced`);
    if (size === 0) return;
    this.bodyLeft -= size;
    if (this.lastFrame !== 0 && this.length - this.lastFrame + size <= this.frameMax) this.extendLastFrame(bytes, start, end);
    else this.appendFrame(FrameType.body, bytes, start, end);
  }

  private appendFrame(type: number, bytes: Buffer, start: number, end: number): void {
    const size = end - start;
    this.reserve(size + frameOverheadBytes);
    const at = this.length;
    this.bytes.writeUInt8(type, at);
    this.bytes.writeUInt16BE(this.channel, at + 1);
    this.bytes.writeUInt32BE(size, at + 3);
    bytes.copy(this.bytes, at + frameHeaderBytes, start, end);
    this.bytes.writeUInt8(frameEnd, at + frameHeaderBytes + size);
    this.length = at + size + frameOverheadBytes;
    if (type === FrameType.body) this.lastFrame = at;
  }

  private extendLastFrame(bytes: Buffer, start: number, end: number): void {
    const size = end - start;
    this.reserve(size);
    const at = this.length - 1; // over the end octet
    bytes.copy(this.bytes, at, start, end);
    this.bytes.writeUInt8(frameEnd, at + size);
    this.length += size;
    this.bytes.writeUInt32BE(this.length - this.lastFrame - frameOverheadBytes, this.lastFrame + 3);
  }

  private reserve(count: number): void {
    const needed = this.length + count;
    if (needed <= this.bytes.length) return;
    const grown = Buffer.allocUnsafe(Math.max(needed, this.bytes.length * 2, 1024));
    grown.set(this.bytes.subarray(0, this.length));
    this.bytes = grown;
  }
}

/** The body size that a content header's payload announces. */
export function bodySize(bytes: Buffer, start: number, end: number): number {
  if (end - start < 14) throw new ProtocolError("SYNTAX_ERROR", "a content header of less than 14 bytes");
  if (bytes.readUInt32BE(start) !== basicClass << 16)
    throw new ProtocolError("UNEXPECTED_FRAME", "a content header of another class than basic");
  // inexact above 2^53, where every limit is passed anyway
  return uint64(bytes, start + 4);
}
