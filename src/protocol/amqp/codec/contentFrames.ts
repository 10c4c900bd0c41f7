/**
 * Stored content (a header frame and body frames, with the publisher's channel in them) on its way to a consumer: one
 * copy with the channel patched, cut again only where a body frame is longer than the consumer takes.
 */
import { uint16, uint32 } from "./bytes.ts";
import { FrameType, frameEnd, frameHeaderBytes, frameOverheadBytes } from "./protocol.ts";

/** How long `content` is once it is cut for `frameMax`; its own length if nothing has to be cut. */
export function contentBytes(content: Buffer, frameMax: number): number {
  if (content.length <= frameMax) return content.length;
  const payloadMax = frameMax - frameOverheadBytes;
  // the header frame is never cut: there is no way to (RabbitMQ sends it whole, too)
  let total = uint32(content, 3) + frameOverheadBytes;
  for (let at = total; at < content.length; ) {
    const size = uint32(content, at + 3);
    total += size + frameOverheadBytes * Math.ceil(size / payloadMax);
    at += size + frameOverheadBytes;
  }
  return total;
}

/** Writes `content` for `channel` at `at`; `total` is what `contentBytes` said. */
export function writeContent(into: Buffer, at: number, content: Buffer, total: number, channel: number, frameMax: number): void {
  if (total !== content.length) return cutContent(into, at, content, channel, frameMax);
  into.set(content, at);
  if (uint16(content, 1) === channel) return;
  const end = at + total;
  for (let frame = at; frame < end; frame += uint32(into, frame + 3) + frameOverheadBytes) {
    into[frame + 1] = channel >>> 8;
    into[frame + 2] = channel;
  }
}

function cutContent(into: Buffer, start: number, content: Buffer, channel: number, frameMax: number): void {
  const payloadMax = frameMax - frameOverheadBytes;
  let to = start;
  for (let at = 0; at < content.length; ) {
    const size = uint32(content, at + 3);
    const from = at + frameHeaderBytes;
    const end = from + size;
    const step = content[at] === FrameType.header ? size : payloadMax;
    for (let part = from; part < end; part += step) {
      const length = Math.min(step, end - part);
      into.writeUInt8(content[at] as number, to);
      into.writeUInt16BE(channel, to + 1);
      into.writeUInt32BE(length, to + 3);
      content.copy(into, to + frameHeaderBytes, part, part + length);
      into.writeUInt8(frameEnd, to + frameHeaderBytes + length);
      to += length + frameOverheadBytes;
    }
    at = end + 1;
  }
}
