/**
 * A published message as the broker sees it, over the content frames as they came. One object serves all publishes of a
 * connection, one after the other: `reset` walks the property list once (no objects, no strings) to check it and to note
 * where the few properties lie that the broker may ask for.
 */

import type { Address } from "../../../record/address.ts";
import { ContentFormat, type HeaderValue, type Message } from "../../../record/message.ts";
import { ByteReader } from "./byteReader.ts";
import { uint16, uint32 } from "./bytes.ts";
import { readTable } from "./fieldTable.ts";
import { frameHeaderBytes, frameOverheadBytes } from "./protocol.ts";
import { ProtocolError } from "./protocolError.ts";
import { scanTable } from "./tableScan.ts";

/** Bits of the property flags, the first property in the highest. */
export const PropertyFlag = {
  headers: 1 << 13,
  deliveryMode: 1 << 12,
  expiration: 1 << 8,
  messageId: 1 << 7,
  userId: 1 << 4,
} as const;

/** What decoding puts in the place of bytes that are no UTF-8. */
const notText = "\ufffd";
const octets = (1 << 12) | (1 << 11); // delivery-mode, priority
const timestampFlag = 1 << 6;
const unusedFlags = 3;
/** Of the header frame: its own 7 bytes, class, weight and body size. */
const flagsAt = frameHeaderBytes + 12;
const listAt = flagsAt + 2;

export class AmqpMessage implements Message {
  readonly contentFormat = ContentFormat.amqp091;
  content: Buffer = Buffer.alloc(0);
  persistent = false;
  /** Which properties there are. */
  flags = 0;
  /** Positions in `content`; 0: not there. */
  private headersAt = 0;
  private messageIdAt = 0;
  private userIdAt = 0;
  /** The end octet of the header frame. */
  private headerEnd = 0;

  constructor(public address: Address) {}

  /** `content`: whole header and body frames. Throws a SYNTAX_ERROR if the properties are malformed. */
  reset(address: Address, content: Buffer): void {
    this.address = address;
    this.content = content;
    this.persistent = false;
    this.headersAt = 0;
    this.messageIdAt = 0;
    this.userIdAt = 0;
    const end = frameHeaderBytes + uint32(content, 3);
    this.headerEnd = end;
    const flags = uint16(content, flagsAt);
    this.flags = flags;
    if (flags === PropertyFlag.deliveryMode && end === listAt + 1) this.persistent = content[listAt] === 2;
    else if (this.walk(flags) !== end) throw new ProtocolError("SYNTAX_ERROR", "malformed properties in a content header");
  }

  /** Returns where the property list ends; something else than its end if it is malformed. */
  private walk(flags: number): number {
    const { content, headerEnd } = this;
    if ((flags & unusedFlags) !== 0) return -1;
    let at = listAt;
    for (let left = flags; left !== 0; ) {
      const flag = 1 << (31 - Math.clz32(left));
      left ^= flag;
      if (at >= headerEnd) return -1;
      if ((flag & octets) !== 0) {
        if (flag === PropertyFlag.deliveryMode) this.persistent = content[at] === 2;
        at += 1;
      } else if (flag === PropertyFlag.headers) {
        this.headersAt = at;
        at = scanTable(content, at, headerEnd);
        if (at === -1) return -1;
      } else if (flag === timestampFlag) {
        at += 8;
      } else {
        if (flag === PropertyFlag.messageId) this.messageIdAt = at;
        else if (flag === PropertyFlag.userId) this.userIdAt = at;
        at += 1 + (content[at] as number);
      }
    }
    return at;
  }

  /** Different for different ids, also where they are no text: those are U+FFFD and their bytes in hex. */
  messageId(): string | undefined {
    const at = this.messageIdAt;
    const text = this.shortStringAt(at);
    if (text === undefined || !text.includes(notText)) return text;
    return notText + this.content.toString("hex", at + 1, at + 1 + (this.content[at] as number));
  }

  userId(): string | undefined {
    return this.shortStringAt(this.userIdAt);
  }

  /** Headers that ask for more copies. Nothing is decoded unless the letters stand somewhere in the table. */
  get hasCarbonCopies(): boolean {
    if (this.headersAt === 0) return false;
    const bytes = uint32(this.content, this.headersAt);
    if (bytes === 0 || !this.content.subarray(this.headersAt + 4, this.headersAt + 4 + bytes).includes("CC")) return false;
    const headers = this.headers() ?? {};
    return Object.hasOwn(headers, "CC") || Object.hasOwn(headers, "BCC");
  }

  headers(): Readonly<Record<string, HeaderValue>> | undefined {
    return this.headersAt === 0 ? undefined : readTable(new ByteReader(this.content, this.headersAt, this.headerEnd));
  }

  body(): Buffer {
    const { content } = this;
    const first = this.headerEnd + 1;
    if (first === content.length) return content.subarray(first);
    const firstEnd = bodyEnd(content, first);
    if (firstEnd + 1 === content.length) return content.subarray(first + frameHeaderBytes, firstEnd);
    const parts: Buffer[] = [];
    for (let at = first; at < content.length; ) {
      const end = bodyEnd(content, at);
      parts.push(content.subarray(at + frameHeaderBytes, end));
      at = end + 1;
    }
    return Buffer.concat(parts);
  }

  properties(): Buffer {
    return this.content.subarray(flagsAt, this.headerEnd);
  }

  private shortStringAt(at: number): string | undefined {
    return at === 0 ? undefined : this.content.toString("utf8", at + 1, at + 1 + (this.content[at] as number));
  }
}

function bodyEnd(content: Buffer, at: number): number {
  return at + uint32(content, at + 3) + frameOverheadBytes - 1;
}
