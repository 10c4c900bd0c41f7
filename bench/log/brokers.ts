/** A broker without sockets, as a node opens it, and what publishes to it and consumes from it. */
import path from "node:path";
import { ByteBudget } from "../../src/base/byteBudget.ts";
import { systemClock } from "../../src/base/clock.ts";
import { silentLogger } from "../../src/base/logger.ts";
import { nodeFileSystem } from "../../src/base/nodeFileSystem.ts";
import { openBroker } from "../../src/broker/broker.ts";
import { authSchema, brokerLimitsSchema } from "../../src/broker/config.ts";
import type { Broker, Consumer, Delivery, QueueHandle, VirtualHost } from "../../src/broker/contract.ts";
import { Users } from "../../src/broker/users.ts";
import { journalOptions, logConfig, topicDefaults } from "../../src/log/config.ts";
import type { EmbeddedLog } from "../../src/log/contract/embeddedLog.ts";
import type { QueueJournal } from "../../src/log/contract/queueJournal.ts";
import { openEmbeddedLog } from "../../src/log/embedded/embeddedLog.ts";
import { openJournal } from "../../src/log/journal/openJournal.ts";
import { openKeyedStore } from "../../src/log/keyedStore.ts";
import type { Address } from "../../src/record/address.ts";
import { ContentFormat, type Message } from "../../src/record/message.ts";

export interface BenchBroker {
  readonly broker: Broker;
  readonly host: VirtualHost;
  readonly journal: QueueJournal;
  readonly log: EmbeddedLog;
  close(): Promise<void>;
}

export async function openBenchBroker(folder: string, config: object = {}): Promise<BenchBroker> {
  const surroundings = { fileSystem: nodeFileSystem, clock: systemClock, logger: silentLogger };
  const logSettings = logConfig.parse(config);
  const budget = new ByteBudget("publish", logSettings.pendingBytesMax);
  const store = (name: string) => openKeyedStore({ ...surroundings, path: path.join(folder, name), name, formatVersion: 1 });
  const catalog = await store("catalog");
  const directory = path.join(folder, "topics");
  const log = await openEmbeddedLog({ ...surroundings, directory, budget, catalog, defaults: topicDefaults(logSettings) });
  const journalSettings = { ...surroundings, directory: path.join(folder, "journal"), budget, messageBytesMax: 1 << 20 };
  let journal: QueueJournal | undefined;
  const broker = await openBroker({
    ...surroundings,
    log,
    openJournal: async (visitor) => {
      journal = await openJournal({ ...journalSettings, ...journalOptions(logSettings) }, visitor);
      return journal;
    },
    store: await store("topology"),
    limits: brokerLimitsSchema.parse({}),
    publishBudget: budget,
    users: new Users(authSchema.parse({})),
  });
  const close = async (): Promise<void> => {
    await broker.close();
    await log.close();
    await catalog.close();
  };
  return { broker, host: broker.virtualHost("/") as VirtualHost, journal: journal as QueueJournal, log, close };
}

export async function declareQueues(host: VirtualHost, count: number, owner: object): Promise<Address[]> {
  const names = Array.from({ length: count }, (_, n) => `q${n}`);
  await Promise.all(
    names.map((name) => host.declareQueue(name, { durable: true, exclusive: false, autoDelete: false, arguments: {} }, owner)),
  );
  return names.map((name) => host.address("", name));
}

export function messageTo(address: Address, content: Buffer): Message {
  return {
    address,
    contentFormat: ContentFormat.amqp091,
    content,
    persistent: true,
    messageId: () => undefined,
    headers: () => undefined,
    body: () => content,
    properties: () => Buffer.of(0, 0),
  };
}

/** Takes what comes and acknowledges it in the next turn of the loop, as a client's acknowledgements come in later chunks. */
export class AcknowledgingConsumer implements Consumer {
  readonly tag = "bench";
  readonly noAck = false;
  readonly exclusive = false;
  readonly owner = this;
  private readonly offsets: number[] = [];
  private readonly queues: QueueHandle[] = [];
  private scheduled = false;

  ready(): boolean {
    return true;
  }

  deliver({ offset }: Delivery, queue: QueueHandle): void {
    this.offsets.push(offset);
    this.queues.push(queue);
    if (this.scheduled) return;
    this.scheduled = true;
    setImmediate(() => this.acknowledgeAll());
  }

  cancelled(): void {}

  private acknowledgeAll(): void {
    this.scheduled = false;
    for (let n = 0; n < this.offsets.length; n++) (this.queues[n] as QueueHandle).acknowledge(this.offsets[n] as number);
    this.offsets.length = this.queues.length = 0;
  }
}
