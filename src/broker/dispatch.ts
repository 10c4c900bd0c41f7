import type { Destination, JournalMessage, QueueJournal } from "../log/contract/queueJournal.ts";
import { ContentFormat, type Message } from "../record/message.ts";
import type { Receipt } from "../record/receipt.ts";
import type { Consumer } from "./contract.ts";
import { type KeptContent, keptContentOf } from "./copy.ts";
import type { Queue } from "./queue.ts";
import type { QueueSurroundings } from "./queueSurroundings.ts";
import type { Route } from "./route.ts";
import type { PreparedAppend } from "./topicQueue.ts";

/**
 * Copies of one message that go straight out, without an entry, are not asked again for room: they may all be the same client's.
 * Further ones are kept, and wait where there is no room.
 */
const unkeptBytesMax = 256 * 1024;

/** What was decided for one queue before anything is written. */
interface Plan {
  readonly queue: Queue;
  readonly offset: number;
  readonly consumer: Consumer | undefined;
  readonly kept: boolean;
  readonly remembers: boolean;
}

const nothingToAppend: readonly PreparedAppend[] = [];

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/**
 * Hands a routed message to its destinations, all or none: whoever is refused has nothing anywhere. First the topics are asked, then one
 * entry goes into the journal for all queues that have to keep it, then come the deliveries and the topics' appends, which nothing refuses.
 */
export class Dispatcher {
  // the usual case, one queue, makes no garbage: the journal copies what it is given before it returns
  private readonly oneDestination: [Mutable<Destination>] = [{ queue: 0, offset: 0 }];
  private readonly entry = new Entry();

  constructor(private readonly shared: QueueSurroundings) {}

  /** False: nobody took it. */
  dispatch(route: Route, message: Message, receipt: Receipt | undefined): boolean {
    const { queues, topics } = route;
    const id = route.dedupes ? message.messageId() : undefined;
    const appends = topics.length === 0 ? nothingToAppend : topics.map((topic) => topic.prepare(message, id));
    if (queues.length === 1) this.toQueue(queues[0] as Queue, message, id, receipt);
    else if (queues.length > 1) this.toQueues(queues, message, id, receipt);
    for (let i = 0; i < appends.length; i++) (appends[i] as PreparedAppend).commit(receipt);
    return queues.length + topics.length > 0;
  }

  private toQueue(queue: Queue, message: Message, id: string | undefined, receipt: Receipt | undefined): void {
    const remembers = id !== undefined && queue.dedupe !== undefined;
    if (remembers && this.isDuplicate(queue, id, message, receipt)) return;
    const durable = queue.durable && message.persistent;
    const consumer = remembers && durable ? undefined : queue.waitingConsumer();
    const offset = queue.nextOffsetTaken();
    if (consumer?.noAck && !remembers) {
      queue.published++;
      return queue.deliverUnkept(consumer, offset, message);
    }
    const [destination] = this.oneDestination;
    destination.queue = queue.id;
    destination.offset = offset;
    const now = this.shared.clock.now();
    const dedupeId = remembers ? id : undefined;
    const position = this.journal.append(this.entry.of(message, durable, dedupeId, now), this.oneDestination, remembers ? 2 : 1, receipt);
    queue.published++;
    if (remembers) queue.remember(id, position, now, durable);
    if (consumer !== undefined) return queue.deliverKept(consumer, offset, position, durable, message);
    const bytes = message.content.length;
    queue.enqueue(offset, position, bytes, durable, queue.hasRoomFor(bytes) ? keptContentOf(message) : undefined);
  }

  private toQueues(queues: readonly Queue[], message: Message, id: string | undefined, receipt: Receipt | undefined): void {
    const plans: Plan[] = [];
    const destinations: Destination[] = [];
    let unkeptBytes = 0;
    let pins = 0;
    let durable = false;
    for (let i = 0; i < queues.length; i++) {
      const queue = queues[i] as Queue;
      const remembers = id !== undefined && queue.dedupe !== undefined;
      if (remembers && this.isDuplicate(queue, id, message, receipt)) continue;
      const durableCopy = queue.durable && message.persistent;
      const consumer = remembers && durableCopy ? undefined : queue.waitingConsumer();
      const offset = queue.nextOffsetTaken();
      const kept = remembers || !consumer?.noAck || (unkeptBytes > 0 && unkeptBytes + message.content.length > unkeptBytesMax);
      if (!kept) unkeptBytes += message.content.length;
      plans.push({ queue, offset, consumer, kept, remembers });
      if (!kept) continue;
      destinations.push({ queue: queue.id, offset });
      pins += remembers ? 2 : 1;
      durable ||= durableCopy;
    }
    const now = this.shared.clock.now();
    const dedupeId = plans.some((plan) => plan.remembers) ? id : undefined;
    const kept = destinations.length > 0;
    const position = kept ? this.journal.append(this.entry.of(message, durable, dedupeId, now), destinations, pins, receipt) : -1;
    let content: KeptContent | undefined;
    for (const { queue, offset, consumer, kept, remembers } of plans) {
      const durableCopy = queue.durable && message.persistent;
      queue.published++;
      if (remembers) queue.remember(id as string, position, now, durableCopy);
      if (consumer !== undefined && !kept) {
        queue.deliverUnkept(consumer, offset, message);
      } else if (consumer?.ready()) {
        // asked again: two queues may have the same channel behind them, with room for one
        queue.deliverKept(consumer, offset, position, durableCopy, message);
      } else {
        const bytes = message.content.length;
        const remembered = queue.hasRoomFor(bytes);
        if (remembered) content ??= keptContentOf(message);
        queue.enqueue(offset, position, bytes, durableCopy, remembered ? content : undefined);
      }
    }
  }

  private get journal(): QueueJournal {
    return this.shared.journal as QueueJournal;
  }

  private isDuplicate(queue: Queue, id: string, message: Message, receipt: Receipt | undefined): boolean {
    const original = queue.dedupe?.find(id, this.shared.clock.now());
    if (original === undefined) return false;
    queue.duplicates++;
    if (receipt !== undefined && queue.durable && message.persistent) this.journal.joinPending(original, receipt);
    return true;
  }
}

const nothing = Buffer.alloc(0);

/** A message as the journal takes it, filled anew for each. */
class Entry implements JournalMessage {
  address: Uint8Array = nothing;
  contentFormat: JournalMessage["contentFormat"] = ContentFormat.amqp091;
  content: Uint8Array = nothing;
  persistent = false;
  dedupeId: string | undefined = undefined;
  timestamp = 0;

  of(message: Message, persistent: boolean, dedupeId: string | undefined, timestamp: number): this {
    this.address = message.address.encoded;
    this.contentFormat = message.contentFormat;
    this.content = message.content;
    this.persistent = persistent;
    this.dedupeId = dedupeId;
    this.timestamp = timestamp;
    return this;
  }
}
