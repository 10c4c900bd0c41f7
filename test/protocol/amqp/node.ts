import { mkdtemp, rm } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { ByteBudget } from "../../../src/base/byteBudget.ts";
import { type Clock, systemClock } from "../../../src/base/clock.ts";
import type { FileSystem } from "../../../src/base/fileSystem.ts";
import { silentLogger } from "../../../src/base/logger.ts";
import { nodeFileSystem } from "../../../src/base/nodeFileSystem.ts";
import { openBroker } from "../../../src/broker/broker.ts";
import { authSchema, brokerLimitsSchema } from "../../../src/broker/config.ts";
import type { Broker, BrokerStatus } from "../../../src/broker/contract.ts";
import { Users } from "../../../src/broker/users.ts";
import type { EmbeddedLog } from "../../../src/log/contract/embeddedLog.ts";
import { openEmbeddedLog } from "../../../src/log/embedded/embeddedLog.ts";
import { openJournal } from "../../../src/log/journal/openJournal.ts";
import { openKeyedStore } from "../../../src/log/keyedStore.ts";
import { type AmqpLimits, amqpConfig } from "../../../src/protocol/amqp/config.ts";
import { type AmqpListener, type AmqpListenerOptions, listenAmqp } from "../../../src/protocol/amqp/listener.ts";

export interface AmqpNodeOptions {
  readonly limits?: Partial<AmqpLimits>;
  readonly publishBytesMax?: number;
  readonly clock?: Clock;
  readonly fileSystem?: FileSystem;
}

/** Nothing here is about a client that is late, and a loaded machine may make every client late. */
const patient: Partial<AmqpLimits> = { handshakeTimeoutMs: 100_000, heartbeatSeconds: 0 };

/** A broker with its log in a temporary folder, and a listener in front of it. */
export class AmqpNode {
  private constructor(
    private readonly directory: string,
    readonly broker: Broker,
    private readonly log: EmbeddedLog,
    readonly listener: AmqpListener,
    /** What the listener was started with. */
    readonly listening: AmqpListenerOptions,
  ) {}

  static async start(options: AmqpNodeOptions = {}): Promise<AmqpNode> {
    const directory = await mkdtemp(path.join(os.tmpdir(), "millrace-amqp-"));
    const fileSystem = options.fileSystem ?? nodeFileSystem;
    const clock = options.clock ?? systemClock;
    const logger = silentLogger;
    const budget = new ByteBudget("publishBytesMax", options.publishBytesMax ?? 1 << 26);
    const open = (name: string) => openKeyedStore({ fileSystem, clock, path: path.join(directory, name), name, formatVersion: 1, logger });
    const defaults = { partitions: 1, sync: { kind: "always" }, segmentBytes: 1 << 22, maxMessageBytes: 1 << 24 } as const;
    const topics = path.join(directory, "topics");
    const log = await openEmbeddedLog({ fileSystem, directory: topics, clock, logger, budget, catalog: await open("catalog"), defaults });
    const journal = path.join(directory, "journal");
    const broker = await openBroker({
      log,
      openJournal: (visitor) =>
        openJournal(
          { fileSystem, directory: journal, fileBytes: 1 << 26, bytesMax: 1 << 29, messageBytesMax: 1 << 25, clock, logger, budget },
          visitor,
        ),
      store: await open("topology"),
      clock,
      logger,
      limits: brokerLimitsSchema.parse({}),
      publishBudget: budget,
      users: new Users(authSchema.parse({})),
    });
    const limits = { ...amqpConfig.parse({}), ...patient, ...options.limits };
    const listening = { broker, host: "127.0.0.1", port: 0, clock, logger, limits, version: "0.0.0-test" };
    return new AmqpNode(directory, broker, log, await listenAmqp(listening), listening);
  }

  get port(): number {
    return this.listener.port;
  }

  get url(): string {
    return `amqp://guest:guest@127.0.0.1:${this.port}`;
  }

  queue(name: string): BrokerStatus["queues"][number] | undefined {
    return this.broker.status().queues.find((queue) => queue.name === name);
  }

  async stop(): Promise<void> {
    await this.listener.close();
    await this.broker.close();
    await this.log.close();
    await rm(this.directory, { recursive: true, force: true });
  }
}

/** Of a connection, what no client can see. */
interface ConnectionInsides {
  readonly socket: { readonly destroyed: boolean };
  readonly output: { readonly waitingBytes: number };
  readonly gate: { readonly held: boolean };
  readonly heartbeat: { readonly received: boolean };
}

export const insidesOf = (listener: AmqpListener): ConnectionInsides[] => [
  ...(listener as unknown as { readonly open: Set<ConnectionInsides> }).open,
];
