import type { Socket } from "node:net";
import { type BaselineBroker, type BaselineConsumer, BaselineQueue, type Kept } from "./broker.ts";
import { Frame, isPersistent, methodFrame, publishEnd, shortString, startFrame, unsigned } from "./wire.ts";

const OUT_BYTES = 256 * 1024;

interface ChannelState {
  readonly number: number;
  confirming: boolean;
  published: number;
  confirmed: number;
  prefetch: number;
  nextTag: number;
  /** In the list of the next commit. */
  queued: boolean;
  /** How much the commit in flight makes durable. */
  committing: number | undefined;
  readonly unacknowledged: Map<number, BaselineQueue>;
}

/** No errors, no heartbeats, no flow control: only what a well-behaved publisher or consumer says. */
export class BaselineConnection {
  private rest: Buffer | undefined;
  private greeted = false;
  private out = Buffer.allocUnsafe(OUT_BYTES);
  private outUsed = 0;
  private blocked = false;
  private readonly channels = new Map<number, ChannelState>();
  private readonly consuming: { readonly queue: BaselineQueue; readonly consumer: BaselineConsumer }[] = [];

  constructor(
    private readonly socket: Socket,
    private readonly broker: BaselineBroker,
  ) {
    socket.setNoDelay(true);
    socket.on("data", (chunk) => this.read(chunk));
    socket.on("drain", () => {
      this.blocked = false;
      for (const { queue } of this.consuming) queue.pump();
      broker.turnEnds();
    });
    socket.on("error", () => socket.destroy());
    socket.on("close", () => {
      for (const { queue, consumer } of this.consuming) queue.remove(consumer);
    });
  }

  flush(): void {
    for (const channel of this.channels.values()) {
      if (channel.confirming && !channel.queued && channel.committing === undefined) this.confirm(channel, channel.published);
    }
    if (this.outUsed === 0) return;
    this.blocked = !this.socket.write(this.out.subarray(0, this.outUsed));
    this.out = Buffer.allocUnsafe(OUT_BYTES);
    this.outUsed = 0;
  }

  deliver(consumer: BaselineConsumer, message: Kept, queue: BaselineQueue): boolean {
    const channel = this.channel(consumer.channel);
    if (this.blocked || (channel.prefetch > 0 && channel.unacknowledged.size >= channel.prefetch)) return false;
    const { prefix } = consumer;
    const methodBytes = prefix.length - 7 + 9 + message.address.length;
    this.makeRoom(methodBytes + 8 + message.content.length);
    const out = this.out;
    let at = this.outUsed;
    prefix.copy(out, at);
    out.writeUInt32BE(methodBytes, at + 3);
    at += prefix.length;
    const tag = channel.nextTag++;
    out.writeUInt32BE(Math.floor(tag / 2 ** 32), at);
    out.writeUInt32BE(tag % 2 ** 32, at + 4);
    out[at + 8] = 0;
    at += 9;
    at += message.address.copy(out, at);
    out[at++] = 0xce;
    const contentAt = at;
    at += message.content.copy(out, at);
    for (let frame = contentAt; frame < at; frame += out.readUInt32BE(frame + 3) + 8) out.writeUInt16BE(consumer.channel, frame + 1);
    this.outUsed = at;
    this.broker.touched(this);
    if (!consumer.noAck) channel.unacknowledged.set(tag, queue);
    return true;
  }

  private read(chunk: Buffer): void {
    const bytes = this.rest === undefined ? chunk : Buffer.concat([this.rest, chunk]);
    let at = 0;
    if (!this.greeted && bytes.length >= 8) {
      this.greeted = true;
      at = 8;
      this.send(startFrame());
    }
    while (this.greeted && bytes.length - at >= 8) {
      const end = at + bytes.readUInt32BE(at + 3) + 8;
      if (end > bytes.length) break;
      if (bytes[at] === Frame.method && bytes.readUInt32BE(at + 7) === 0x003c0028) {
        const contentEnd = publishEnd(bytes, end);
        if (contentEnd === 0) break;
        this.publish(bytes, at, end, contentEnd);
        at = contentEnd;
        continue;
      }
      if (bytes[at] === Frame.method) this.method(bytes.subarray(at + 7, end - 1), bytes.readUInt16BE(at + 1));
      at = end;
    }
    this.rest = at < bytes.length ? bytes.subarray(at) : undefined;
    this.broker.turnEnds();
  }

  private publish(bytes: Buffer, at: number, headerAt: number, end: number): void {
    const channel = this.channel(bytes.readUInt16BE(at + 1));
    const keyAt = at + 14 + bytes.readUInt8(at + 13);
    const addressEnd = keyAt + 1 + bytes.readUInt8(keyAt);
    const queues = this.broker.route(bytes.toString("latin1", at + 14, keyAt), bytes.toString("latin1", keyAt + 1, addressEnd));
    const content = bytes.subarray(headerAt, end);
    const message = { content, address: bytes.subarray(at + 13, addressEnd) };
    for (const queue of queues) queue.publish(message);
    channel.published++;
    if (!channel.confirming) return;
    const { journal } = this.broker;
    if (journal !== undefined && queues.some((queue) => queue.durable) && isPersistent(bytes, headerAt)) {
      journal.append(content);
      this.confirmWhenDurable(channel);
    }
    this.broker.touched(this);
  }

  private confirmWhenDurable(channel: ChannelState): void {
    if (channel.queued) return;
    channel.queued = true;
    this.broker.journal?.waitForNextCommit({
      commitBegins: () => {
        channel.queued = false;
        channel.committing = channel.published;
      },
      committed: () => {
        this.confirm(channel, channel.committing ?? 0);
        channel.committing = undefined;
        this.flush();
      },
    });
  }

  private confirm(channel: ChannelState, upTo: number): void {
    if (channel.confirmed === upTo) return;
    channel.confirmed = upTo;
    this.send(methodFrame(channel.number, 60, 80, unsigned(upTo, 8), Buffer.of(1)));
  }

  private channel(number: number): ChannelState {
    let channel = this.channels.get(number);
    if (channel === undefined) {
      channel = {
        number,
        confirming: false,
        published: 0,
        confirmed: 0,
        prefetch: 0,
        nextTag: 1,
        queued: false,
        committing: undefined,
        unacknowledged: new Map(),
      };
      this.channels.set(number, channel);
    }
    return channel;
  }

  private method(payload: Buffer, number: number): void {
    const channel = this.channel(number);
    const text = (at: number): string => payload.toString("latin1", at + 1, at + 1 + payload.readUInt8(at));
    const after = (at: number): number => at + 1 + payload.readUInt8(at);
    const reply = (classId: number, methodId: number, ...args: Buffer[]): void =>
      this.send(methodFrame(number, classId, methodId, ...args));
    const { broker } = this;
    switch (payload.readUInt16BE(0) * 1000 + payload.readUInt16BE(2)) {
      case 10_011: // start-ok
        return reply(10, 30, unsigned(2047, 2), unsigned(131_072, 4), unsigned(0, 2));
      case 10_040: // open
        return reply(10, 41, Buffer.of(0));
      case 10_050: // close
        return reply(10, 51);
      case 20_010:
        return reply(20, 11, unsigned(0, 4));
      case 20_040:
        this.channels.delete(number);
        return reply(20, 41);
      case 40_010: {
        const name = text(6);
        if (!broker.exchanges.has(name)) broker.exchanges.set(name, { type: text(after(6)), bindings: [] });
        broker.topologyChanged();
        return reply(40, 11);
      }
      case 50_010: {
        const name = text(6);
        const durable = (payload.readUInt8(after(6)) & 2) !== 0;
        // the arguments are a table; that it says "stream" somewhere is enough to know here
        if (!broker.queues.has(name)) broker.queues.set(name, new BaselineQueue(durable, payload.includes("stream", after(6))));
        broker.topologyChanged();
        return reply(50, 11, shortString(name), unsigned(0, 4), unsigned(0, 4));
      }
      case 50_020: {
        const queue = broker.queues.get(text(6));
        if (queue !== undefined) broker.exchanges.get(text(after(6)))?.bindings.push({ key: text(after(after(6))), queue });
        broker.topologyChanged();
        return reply(50, 21);
      }
      case 60_010:
        channel.prefetch = payload.readUInt16BE(8);
        return reply(60, 11);
      case 60_020:
        return this.consume(number, text(6), text(after(6)), (payload.readUInt8(after(after(6))) & 2) !== 0);
      case 60_030: // cancel
        for (const { queue, consumer } of this.consuming) {
          if (consumer.channel === number) queue.remove(consumer);
        }
        return reply(60, 31, shortString(text(4)));
      case 60_080:
        return this.acknowledge(channel, Number(payload.readBigUInt64BE(4)), (payload.readUInt8(12) & 1) !== 0);
      case 85_010:
        channel.confirming = true;
        return reply(85, 11);
    }
  }

  private consume(channel: number, queueName: string, wantedTag: string, noAck: boolean): void {
    const queue = this.broker.queues.get(queueName);
    if (queue === undefined) return;
    const tag = shortString(wantedTag === "" ? `consumer-${this.consuming.length}` : wantedTag);
    const prefix = Buffer.concat([Buffer.of(Frame.method), unsigned(channel, 2), unsigned(0, 4), unsigned(60, 2), unsigned(60, 2), tag]);
    this.send(methodFrame(channel, 60, 21, tag));
    const consumer = { connection: this, channel, noAck, prefix };
    queue.consumers.push(consumer);
    this.consuming.push({ queue, consumer });
    queue.pump();
  }

  private acknowledge(channel: ChannelState, tag: number, multiple: boolean): void {
    const freed = new Set<BaselineQueue>();
    for (const [unacknowledged, queue] of multiple ? channel.unacknowledged : [[tag, channel.unacknowledged.get(tag)] as const]) {
      if (unacknowledged > tag || queue === undefined) break;
      channel.unacknowledged.delete(unacknowledged);
      freed.add(queue);
    }
    for (const queue of freed) queue.pump();
  }

  private makeRoom(bytes: number): void {
    if (this.outUsed + bytes <= this.out.length) return;
    if (this.outUsed > 0) {
      this.blocked = !this.socket.write(this.out.subarray(0, this.outUsed));
      this.out = Buffer.allocUnsafe(Math.max(OUT_BYTES, bytes));
      this.outUsed = 0;
    } else this.out = Buffer.allocUnsafe(bytes);
  }

  private send(frame: Buffer): void {
    this.makeRoom(frame.length);
    frame.copy(this.out, this.outUsed);
    this.outUsed += frame.length;
    this.broker.touched(this);
  }
}
