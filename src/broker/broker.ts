import type { ByteBudget } from "../base/byteBudget.ts";
import type { Clock } from "../base/clock.ts";
import { MillraceError } from "../base/errors.ts";
import type { Logger } from "../base/logger.ts";
import type { EmbeddedLog } from "../log/contract/embeddedLog.ts";
import type { Json, KeyedStore } from "../log/contract/keyedStore.ts";
import type { JournalVisitor, QueueId, QueueJournal, StoppedQueue } from "../log/contract/queueJournal.ts";
import type { BrokerLimits } from "./config.ts";
import { ContentCacheLimits } from "./contentCache.ts";
import type { Broker, BrokerStatus, VirtualHost } from "./contract.ts";
import { DeliveryTurns } from "./deliveryTurns.ts";
import { Dispatcher } from "./dispatch.ts";
import { Queue } from "./queue.ts";
import { QueueIds } from "./queueIds.ts";
import { queueFiller } from "./queueRecovery.ts";
import { queueSettings } from "./queueSettings.ts";
import type { QueueSurroundings } from "./queueSurroundings.ts";
import { batchBytesMax } from "./readAhead.ts";
import { type RunLimits, runLimits } from "./readyMessages.ts";
import { Router } from "./routing.ts";
import { Serial } from "./serial.ts";
import { noCopies } from "./stoppedCopies.ts";
import { recoverTopicDedupe } from "./topicDedupe.ts";
import { finishTopicDeletions } from "./topicDeletion.ts";
import { TopicQueue } from "./topicQueue.ts";
import { type DeclaredQueue, isDurable, storeKey, Topology } from "./topology.ts";
import type { Users } from "./users.ts";
import { Host } from "./virtualHost.ts";

export interface BrokerOptions {
  /** Stays open when the broker closes: pipelines read it too. */
  readonly log: EmbeddedLog;
  /** Replays into the visitor before it resolves. The broker closes what it gave. */
  readonly openJournal: (visitor: JournalVisitor) => Promise<QueueJournal>;
  /** For the topology alone. The broker closes it. */
  readonly store: KeyedStore;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly limits: BrokerLimits;
  /** The one that the journal and the log take from. */
  readonly publishBudget: ByteBudget;
  readonly users: Users;
  /** Tests make them small. */
  readonly runs?: RunLimits;
}

const defaultHost = "/";
/** Written by a clean stop: for each queue, where what was delivered ends. */
const cleanStop = storeKey("clean-stop");
const predeclared = {
  "amq.direct": "direct",
  "amq.fanout": "fanout",
  "amq.topic": "topic",
  "amq.headers": "headers",
  "amq.match": "headers",
};

/** Recovers what was there: topology, then empty queues, then the journal fills them. */
export async function openBroker(options: BrokerOptions): Promise<Broker> {
  const { log, store, clock, logger, limits } = options;
  const shared: QueueSurroundings = {
    journal: undefined,
    queues: new Map(),
    turns: new DeliveryTurns(),
    contentCache: new ContentCacheLimits(limits.queueCacheBytesMax, limits.queueCacheBytesMaxTotal),
    readAhead: new ContentCacheLimits(batchBytesMax, limits.readAheadBytesMaxTotal),
    runs: options.runs ?? runLimits,
    clock,
    logger,
  };
  const topology = new Topology(defaultHost, store, (name, declared) => createQueue(name, declared, options, shared));
  const router = new Router(topology, limits.routeCacheEntriesMax);
  topology.onChange = () => router.changed();
  await finishTopicDeletions(store, log);
  restoreTopology(topology);
  const queues = [...topology.queues.values()];
  for (const queue of queues) if (queue.kind === "topic") await recoverTopicDedupe(log, queue, clock.now(), limits.dedupeIdsMax);
  const queueIds = new QueueIds(store);
  const lastOfTopology = queueIds.last;
  shared.journal = await options.openJournal(queueFiller(shared.queues, queueIds));
  if (queueIds.last > lastOfTopology) {
    logger.error("the journal is newer than the topology: what is in it for queues that the topology does not have is dropped");
  }
  await afterReplay(shared.queues, store, shared.journal);
  const dispatcher = new Dispatcher(shared);
  const parts = { topology, router, dispatcher, queueIds, log, limits, serial: new Serial() };
  return new OpenBroker(options, new Host(defaultHost, parts), topology, shared, shared.journal, queueIds);
}

function createQueue(name: string, declared: DeclaredQueue, options: BrokerOptions, shared: QueueSurroundings): Queue | TopicQueue {
  const { id, options: queueOptions, owner } = declared;
  const { dedupeIdsMax } = options.limits;
  const settings = queueSettings(queueOptions, options.limits, `for queue '${name}' in vhost '${defaultHost}'`);
  if (settings.kind === "queue") {
    const dedupe = settings.dedupe === undefined ? undefined : { limit: settings.dedupe, idsMax: dedupeIdsMax };
    return new Queue(name, id, isDurable(queueOptions), queueOptions, owner, dedupe, shared);
  }
  const topic = options.log.topic(name);
  if (topic === undefined) {
    throw new MillraceError("TOPIC_MISSING", `the topic '${name}' was declared, but the log does not have it`, {
      domain: "external",
      hint: "The catalog and the topology are not of one time: bring the whole data directory back from one backup; docs/durability.md says what can be done without one.",
    });
  }
  return new TopicQueue(name, queueOptions, settings, topic, dedupeIdsMax, options.clock);
}

function restoreTopology(topology: Topology): void {
  const options = { durable: true, autoDelete: false, internal: false, arguments: {} };
  for (const [name, type] of Object.entries(predeclared)) topology.apply({ kind: "exchange", name, options: { type, ...options } });
  for (const change of topology.stored()) topology.apply(change);
}

async function afterReplay(queues: ReadonlyMap<QueueId, Queue>, store: KeyedStore, journal: QueueJournal): Promise<void> {
  const deliveredBelow = store.entries.get(cleanStop) as Readonly<Record<string, number>> | undefined;
  // before anything is written: the pins must be there when the journal looks which files are free
  for (const queue of queues.values()) await queue.recovered(deliveredBelow?.[queue.id]);
  if (deliveredBelow === undefined) return;
  try {
    await store.change(new Map([[cleanStop, null]]));
  } catch (error) {
    await journal.close();
    throw error;
  }
}

class OpenBroker implements Broker {
  readonly publishBudget: ByteBudget;

  constructor(
    private readonly options: BrokerOptions,
    private readonly host: Host,
    private readonly topology: Topology,
    private readonly shared: QueueSurroundings,
    private readonly journal: QueueJournal,
    private readonly queueIds: QueueIds,
  ) {
    this.publishBudget = options.publishBudget;
  }

  virtualHost(name: string): VirtualHost | undefined {
    return name === this.host.name ? this.host : undefined;
  }

  authenticate(user: string, password: string, remote: { readonly loopback: boolean }): { readonly user: string } | undefined {
    return this.options.users.authenticate(user, password, remote);
  }

  status(): BrokerStatus {
    const queues: BrokerStatus["queues"][number][] = [];
    const topics: BrokerStatus["topics"][number][] = [];
    for (const queue of this.topology.queues.values()) {
      const { name, published, duplicates } = queue;
      if (queue.kind === "topic") {
        const { topic } = queue;
        const partitions = Array.from({ length: topic.description.config.partitions }, (_, partition) => {
          return { endOffset: topic.endOffset(partition), highWatermark: topic.highWatermark(partition) };
        });
        topics.push({ name, partitions, published, duplicates });
      } else {
        const { readyCount, unackedCount, consumers, delivered, acknowledged } = queue;
        queues.push({
          name,
          ready: readyCount,
          unacknowledged: unackedCount,
          consumers: consumers.count,
          published,
          delivered,
          acknowledged,
          duplicates,
        });
      }
    }
    const { refused, failures, damagedEntries } = this.journal.stats;
    return { exchanges: this.topology.exchanges.size + 1, journal: { refused, failures, damagedEntries }, queues, topics };
  }

  async close(): Promise<void> {
    await this.host.close();
    this.shared.turns.stop();
    await this.journal.close(() => this.stopped());
    const deliveredBelow: Record<string, Json> = {};
    for (const queue of this.topology.queues.values()) {
      if (queue.kind !== "queue") continue;
      queue.stop();
      if (queue.durable) deliveredBelow[queue.id] = queue.deliveredOffsetsEnd;
    }
    await this.options.store.change(new Map([[cleanStop, deliveredBelow]]));
    await this.options.store.close();
  }

  /** Undefined: entries of the journal are needed to know what is gone. */
  private stopped(): Iterable<StoppedQueue> | undefined {
    const queues = [...this.shared.queues.values()].filter(({ durable }) => durable);
    return queues.every(({ canTell }) => canTell) ? toldBy(queues, this.queueIds.last) : undefined;
  }
}

/** The last number too, so that the journal knows it without being read: of a queue that is gone there may be entries in it. */
function* toldBy(queues: readonly Queue[], last: QueueId): Generator<StoppedQueue> {
  for (const queue of queues) yield queue.stopped;
  if (last > 0 && queues.every(({ id }) => id !== last)) yield { queue: last, nextOffset: 0, copies: noCopies, ids: [] };
}
