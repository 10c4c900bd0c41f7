import type { VirtualHost } from "../../broker/contract.ts";
import { Address } from "../../record/address.ts";
import { AddressCache } from "./addressCache.ts";
import type { Channel } from "./channel.ts";
import { AmqpMessage, PropertyFlag } from "./codec/amqpMessage.ts";
import { bodySize } from "./codec/contentAssembler.ts";
import { publishAddressAt, publishBitsAt } from "./codec/hotMethods.ts";
import { frameHeaderBytes } from "./codec/protocol.ts";
import { ProtocolError } from "./codec/protocolError.ts";
import { toProtocolError } from "./replyErrors.ts";

const mandatoryBit = 1;
const immediateBit = 2;
const rareProperties = PropertyFlag.expiration | PropertyFlag.userId | PropertyFlag.headers;

/** basic.publish for all channels of a connection; one message object serves them all. */
export class Publishing {
  private readonly addresses: AddressCache;
  private readonly message = new AmqpMessage(new Address("", ""));
  /** What half-received messages take, over all channels. */
  private assemblyBytes = 0;
  /** Something was published since this was last set to false. */
  hasPublished = false;

  constructor(
    private readonly virtualHost: VirtualHost,
    private readonly user: string,
    private readonly messageBytesMax: number,
    private readonly assemblyBytesMax: number,
  ) {
    this.addresses = new AddressCache(virtualHost);
  }

  /** Hot path: a publish with its content in one piece. Positions as in `FrameSink.publish`. */
  whole(channel: Channel, bytes: Buffer, methodStart: number, contentStart: number, contentEnd: number): void {
    const bitsAt = this.bitsAt(bytes, methodStart, contentStart - 1);
    const address = this.addresses.at(bytes, methodStart + publishAddressAt, bitsAt);
    const mandatory = this.isMandatory(bytes[bitsAt] as number);
    this.checkSize(bytes.readUInt32BE(contentStart + frameHeaderBytes + 8));
    this.publish(channel, address, mandatory, bytes.subarray(contentStart, contentEnd));
  }

  /** The method alone: its content comes in frames of its own. */
  begin(channel: Channel, bytes: Buffer, start: number, end: number): void {
    const bitsAt = this.bitsAt(bytes, start, end);
    const address = this.addresses.at(bytes, start + publishAddressAt, bitsAt);
    channel.pendingPublish = { address, mandatory: this.isMandatory(bytes[bitsAt] as number) };
  }

  header(channel: Channel, bytes: Buffer, start: number, end: number): void {
    this.checkSize(bodySize(bytes, start, end));
    this.assemble(channel, () => channel.assembler.header(bytes, start, end));
  }

  body(channel: Channel, bytes: Buffer, start: number, end: number): void {
    this.assemble(channel, () => channel.assembler.body(bytes, start, end));
  }

  /** The channel is gone, and with it what it had of a message. */
  forget(channel: Channel): void {
    this.assemblyBytes -= channel.assembler.heldBytes;
    channel.assembler.clear();
    channel.pendingPublish = undefined;
  }

  private assemble(channel: Channel, add: () => void): void {
    const { assembler, pendingPublish } = channel;
    if (pendingPublish === undefined) throw new ProtocolError("UNEXPECTED_FRAME", "content without a method that has one");
    const before = assembler.heldBytes;
    add();
    this.assemblyBytes += assembler.heldBytes - before;
    if (this.assemblyBytes > this.assemblyBytesMax) {
      throw new ProtocolError("RESOURCE_ERROR", `half-received messages take more than ${this.assemblyBytesMax} bytes`);
    }
    if (!assembler.complete) return;
    try {
      this.publish(channel, pendingPublish.address, pendingPublish.mandatory, assembler.content());
    } finally {
      this.forget(channel);
    }
  }

  private publish(channel: Channel, address: Address, mandatory: boolean, content: Buffer): void {
    const { message } = this;
    this.hasPublished = true;
    message.reset(address, content);
    if ((message.flags & rareProperties) !== 0) this.checkProperties();
    const receipt = channel.confirms?.next();
    let routed: boolean;
    try {
      routed = this.virtualHost.publish(message, receipt);
    } catch (error) {
      const refusal = toProtocolError(error);
      // the disk's failure is the message's alone where the publisher hears of it
      if (channel.confirms === undefined || refusal.reply !== "INTERNAL_ERROR") throw refusal;
      channel.confirms.refuseLast();
      return;
    }
    if (!routed && mandatory) returnMessage(channel, address, content);
  }

  private bitsAt(bytes: Buffer, start: number, end: number): number {
    const bitsAt = publishBitsAt(bytes, start, end);
    if (bitsAt === -1) throw new ProtocolError("SYNTAX_ERROR", "malformed basic.publish");
    return bitsAt;
  }

  private isMandatory(bits: number): boolean {
    if ((bits & immediateBit) !== 0) throw new ProtocolError("NOT_IMPLEMENTED", "immediate=true");
    return (bits & mandatoryBit) !== 0;
  }

  private checkSize(bytes: number): void {
    if (bytes <= this.messageBytesMax) return;
    const text = `message size ${bytes} is larger than configured max size ${this.messageBytesMax}`;
    throw new ProtocolError("PRECONDITION_FAILED", text);
  }

  /** What these properties ask for is not there yet, or has to be checked. */
  private checkProperties(): void {
    const { message } = this;
    if ((message.flags & PropertyFlag.expiration) !== 0) throw new ProtocolError("NOT_IMPLEMENTED", "per-message expiration");
    if (message.hasCarbonCopies) throw new ProtocolError("NOT_IMPLEMENTED", "the headers CC and BCC");
    const userId = message.userId();
    if (userId !== undefined && userId !== this.user) {
      throw new ProtocolError("PRECONDITION_FAILED", `user_id property set to '${userId}' but authenticated user was '${this.user}'`);
    }
  }
}

function returnMessage(channel: Channel, { exchange, routingKey }: Address, content: Buffer): void {
  channel.send("basic.return", { replyCode: 312, replyText: "NO_ROUTE", exchange, routingKey });
  channel.deliveries.sendContent(content);
}
