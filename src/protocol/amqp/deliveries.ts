import type { Delivery, QueueHandle } from "../../broker/contract.ts";
import { contentBytes, writeContent } from "./codec/contentFrames.ts";
import { deliverBytes, writeDeliver } from "./codec/hotMethods.ts";
import { encodeMethod } from "./codec/methodCodec.ts";
import { ProtocolError } from "./codec/protocolError.ts";
import type { Output } from "./output.ts";
import { type Holder, Unacked } from "./unacked.ts";

type Settle = (holder: Holder, offset: number) => void;

/** What a client can say about a delivery. */
export const acknowledge: Settle = (holder, offset) => holder.queue.acknowledge(offset);
export const requeue: Settle = (holder, offset) => holder.queue.requeue(offset);
export const discard: Settle = (holder, offset) => holder.queue.discard(offset);

/** A consumer as its channel sees it. */
export interface Receiver extends Holder {
  /** It was refused a delivery and could take one now: says so to its queue. */
  wakeIfStalled(): void;
}

/** The deliveries of one channel: tags, what is unacknowledged, and whether one more may go out. */
export class Deliveries {
  /** basic.qos with global: for all consumers of the channel together; 0: no limit. */
  prefetchGlobal = 0;
  /** What its consumers hold; a basic.get doesn't count. */
  inFlight = 0;
  readonly receivers = new Set<Receiver>();
  private stalled = false;
  private lastTag = 0;
  private readonly unacked = new Unacked();

  constructor(
    readonly channel: number,
    readonly output: Output,
    readonly frameMax: number,
    private readonly unackedMax: number,
  ) {}

  /** May the channel hold one more unacknowledged? */
  holdsMore(): boolean {
    return this.unacked.count < this.unackedMax;
  }

  /** May any consumer of the channel be given one more? */
  mayDeliver(noAck: boolean): boolean {
    if (!this.output.mayDeliver()) return false;
    if (noAck) return true;
    if ((this.prefetchGlobal === 0 || this.inFlight < this.prefetchGlobal) && this.holdsMore()) return true;
    this.stalled = true;
    return false;
  }

  /** Hot path: method and content in one piece of the output, the content copied as it is. */
  deliver(prefix: Buffer, delivery: Delivery, holder: Holder | undefined): void {
    const { output, channel, frameMax } = this;
    const { address, content } = delivery;
    const methodBytes = deliverBytes(prefix, address);
    const total = contentBytes(content, frameMax);
    const at = output.reserve(methodBytes + total);
    const tag = ++this.lastTag;
    const contentAt = writeDeliver(output.bytes, at, prefix, tag, delivery.redelivered, address);
    writeContent(output.bytes, contentAt, content, total, channel, frameMax);
    if (holder !== undefined) this.unacked.add(tag, holder, delivery.offset);
  }

  /** The answer to a basic.get. */
  answerGet(
    delivery: Delivery,
    queue: QueueHandle,
    noAck: boolean,
    remaining: number,
    address: { exchange: string; routingKey: string },
  ): void {
    const { output, channel } = this;
    const tag = ++this.lastTag;
    output.send(
      encodeMethod(channel, "basic.get-ok", {
        deliveryTag: tag,
        redelivered: delivery.redelivered,
        exchange: address.exchange,
        routingKey: address.routingKey,
        messageCount: remaining,
      }),
    );
    this.sendContent(delivery.content);
    if (!noAck) this.unacked.add(tag, { queue, settled: () => this.wakeStalled() }, delivery.offset);
  }

  sendContent(content: Buffer): void {
    const { output, channel, frameMax } = this;
    const total = contentBytes(content, frameMax);
    const at = output.reserve(total);
    writeContent(output.bytes, at, content, total, channel, frameMax);
  }

  /** A client's ack, nack or reject. A `multiple` with tag 0 means all. */
  settle(tag: number, multiple: boolean, how: Settle): void {
    if (multiple && tag === 0) this.unacked.takeThrough(this.lastTag, how);
    else if (tag > this.lastTag || !(multiple ? this.unacked.takeThrough(tag, how) : this.unacked.take(tag, how))) {
      throw new ProtocolError("PRECONDITION_FAILED", `unknown delivery tag ${tag}`);
    }
    if (this.stalled) this.wakeStalled();
  }

  requeueAll(): void {
    this.unacked.takeThrough(this.lastTag, requeue);
    if (this.stalled) this.wakeStalled();
  }

  wakeStalled(): void {
    this.stalled = false;
    for (const receiver of this.receivers) receiver.wakeIfStalled();
  }
}
