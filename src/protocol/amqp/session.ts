import type { VirtualHost } from "../../broker/contract.ts";
import { Channel, type ChannelHost } from "./channel.ts";
import { uint16 } from "./codec/bytes.ts";
import { settleBits, settleMethod, settlePayloadBytes, settleTag } from "./codec/hotMethods.ts";
import { decodeMethod, encodeMethod, methodName } from "./codec/methodCodec.ts";
import { basicClass, FrameType, publishMethod } from "./codec/protocol.ts";
import { ProtocolError } from "./codec/protocolError.ts";
import { acknowledge, discard, requeue } from "./deliveries.ts";
import { handle } from "./methods/index.ts";
import { Publishing } from "./publishing.ts";
import { replyText } from "./replyErrors.ts";

export interface SessionLimits {
  readonly channelMax: number;
  readonly messageBytesMax: number;
  readonly connectionAssemblyBytesMax: number;
}

/** The channels of an open connection: takes each frame to its channel. Errors are thrown; the connection says them. */
export class Session {
  readonly publishing: Publishing;
  private readonly channels: (Channel | undefined)[] = [];
  private channelCount = 0;

  constructor(
    private readonly host: ChannelHost,
    user: string,
    private readonly limits: SessionLimits,
  ) {
    this.publishing = new Publishing(host.virtualHost, user, limits.messageBytesMax, limits.connectionAssemblyBytesMax);
  }

  channel(number: number): Channel | undefined {
    return this.channels[number];
  }

  get confirmsPending(): boolean {
    return this.open().some((channel) => channel.confirms?.pending === true);
  }

  /** A publish in one piece. */
  publish(number: number, bytes: Buffer, methodStart: number, contentStart: number, contentEnd: number): void {
    const channel = this.channels[number];
    if (channel === undefined) throw notOpen();
    if (channel.closing) return;
    if (channel.pendingPublish !== undefined) throw contentExpected();
    this.publishing.whole(channel, bytes, methodStart, contentStart, contentEnd);
  }

  /** Any other frame; a promise is an operation to wait for. */
  frame(type: number, number: number, bytes: Buffer, start: number, end: number): void | Promise<void> {
    const channel = this.channels[number];
    if (channel === undefined) return this.openChannel(type, number, bytes, start, end);
    if (channel.closing) return this.whileClosing(channel, type, bytes, start, end);
    if (type === FrameType.method) return this.method(channel, bytes, start, end);
    if (type === FrameType.header) return this.publishing.header(channel, bytes, start, end);
    return this.publishing.body(channel, bytes, start, end);
  }

  private method(channel: Channel, bytes: Buffer, start: number, end: number): void | Promise<void> {
    if (channel.pendingPublish !== undefined) throw contentExpected();
    if (end - start >= 4 && uint16(bytes, start) === basicClass) {
      const id = uint16(bytes, start + 2);
      if (id === publishMethod) return this.publishing.begin(channel, bytes, start, end);
      if (end - start === settlePayloadBytes) {
        const tag = settleTag(bytes, start);
        const bits = settleBits(bytes, start);
        if (id === settleMethod.ack) return channel.deliveries.settle(tag, (bits & 1) !== 0, acknowledge);
        if (id === settleMethod.nack) return channel.deliveries.settle(tag, (bits & 1) !== 0, (bits & 2) !== 0 ? requeue : discard);
        if (id === settleMethod.reject) return channel.deliveries.settle(tag, false, (bits & 1) !== 0 ? requeue : discard);
      }
    }
    const method = decodeMethod(bytes, start, end);
    return method.name === "channel.close" ? this.closedByClient(channel) : handle(channel, method);
  }

  private openChannel(type: number, number: number, bytes: Buffer, start: number, end: number): void {
    const isMethod = type === FrameType.method && end - start >= 4;
    const name = isMethod ? methodName(bytes.readUInt16BE(start), bytes.readUInt16BE(start + 2)) : undefined;
    if (name !== "channel.open") throw notOpen();
    decodeMethod(bytes, start, end);
    const { channelMax } = this.limits;
    if (number > channelMax || this.channelCount >= channelMax) {
      throw new ProtocolError("NOT_ALLOWED", `channel ${number} passes the negotiated channel_max (${channelMax})`);
    }
    const channel = new Channel(number, this.host);
    this.channels[number] = channel;
    this.channelCount++;
    channel.send("channel.open-ok", { channelId: Buffer.alloc(0) });
  }

  /** Everything is dropped until the client has agreed. */
  private whileClosing(channel: Channel, type: number, bytes: Buffer, start: number, end: number): void {
    if (type !== FrameType.method || end - start < 4) return;
    const name = methodName(bytes.readUInt16BE(start), bytes.readUInt16BE(start + 2));
    if (name === "channel.close-ok") this.forget(channel);
    else if (name === "channel.close") channel.send("channel.close-ok", {});
  }

  private async closedByClient(channel: Channel): Promise<void> {
    await this.releaseChannel(channel);
    channel.send("channel.close-ok", {});
    this.forget(channel);
  }

  /** A soft error. */
  closeChannel(channel: Channel, error: ProtocolError, classId: number, methodId: number): Promise<void> {
    const released = this.releaseChannel(channel);
    this.host.output.send(
      encodeMethod(channel.number, "channel.close", { replyCode: error.replyCode, replyText: replyText(error), classId, methodId }),
    );
    return released;
  }

  /** The connection is over: everything goes back to the broker. */
  async release(): Promise<void> {
    await Promise.all(this.open().map((channel) => this.releaseChannel(channel)));
  }

  get virtualHost(): VirtualHost {
    return this.host.virtualHost;
  }

  wakeConsumers(): void {
    for (const channel of this.open()) channel.deliveries.wakeStalled();
  }

  private releaseChannel(channel: Channel): Promise<void> {
    this.publishing.forget(channel);
    return channel.release();
  }

  private forget(channel: Channel): void {
    this.channels[channel.number] = undefined;
    this.channelCount--;
  }

  private open(): Channel[] {
    return this.channels.filter((channel) => channel !== undefined && !channel.closing) as Channel[];
  }
}

const notOpen = (): ProtocolError => new ProtocolError("CHANNEL_ERROR", "expected 'channel.open'");
const contentExpected = (): ProtocolError => new ProtocolError("UNEXPECTED_FRAME", "a method, the content of a publish was expected");
