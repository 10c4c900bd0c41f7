import { ByteBudget } from "../../src/base/byteBudget.ts";
import { type Clock, systemClock } from "../../src/base/clock.ts";
import type { FileSystem } from "../../src/base/fileSystem.ts";
import { type Logger, silentLogger } from "../../src/base/logger.ts";
import { nodeFileSystem } from "../../src/base/nodeFileSystem.ts";
import { openBroker } from "../../src/broker/broker.ts";
import { authSchema, type BrokerLimits, brokerLimitsSchema } from "../../src/broker/config.ts";
import type { Arguments, Broker, QueueState, VirtualHost } from "../../src/broker/contract.ts";
import type { RunLimits } from "../../src/broker/readyMessages.ts";
import { Users } from "../../src/broker/users.ts";
import type { EmbeddedLog } from "../../src/log/contract/embeddedLog.ts";
import { openEmbeddedLog } from "../../src/log/embedded/embeddedLog.ts";
import { openJournal } from "../../src/log/journal/openJournal.ts";
import { openKeyedStore } from "../../src/log/keyedStore.ts";
import { SimulatedFileSystem } from "../support/simulatedFileSystem.ts";
import { PinCheck } from "./pinCheck.ts";

export interface NodeOptions {
  readonly seed?: number;
  readonly limits?: Partial<BrokerLimits>;
  readonly clock?: Clock;
  readonly journalFileBytes?: number;
  readonly journalBytesMax?: number;
  readonly indexPageItems?: number;
  readonly diskReserveBytes?: number;
  readonly runs?: RunLimits;
  /** On the real disk, in this folder; it cannot crash then. */
  readonly directory?: string;
}

/** A broker with its log, journal and topology on a simulated disk. */
export class BrokerNode {
  private constructor(
    private readonly options: NodeOptions,
    readonly fileSystem: FileSystem,
    readonly broker: Broker,
    readonly journal: PinCheck,
    readonly log: EmbeddedLog,
    /** What was logged as an error. */
    readonly errors: readonly string[],
  ) {}

  static start(options: NodeOptions = {}): Promise<BrokerNode> {
    if (options.directory !== undefined) return BrokerNode.on(options, nodeFileSystem);
    return BrokerNode.on(options, new SimulatedFileSystem({ seed: options.seed ?? 1, turnsMax: 1 }));
  }

  private static async on(options: NodeOptions, fileSystem: FileSystem): Promise<BrokerNode> {
    const clock = options.clock ?? systemClock;
    const errors: string[] = [];
    const logger: Logger = { ...silentLogger, error: (text) => void errors.push(text) };
    const budget = new ByteBudget("publishBytesMax", 1 << 26);
    const data = options.directory ?? "/data";
    await fileSystem.makeDirectory(data);
    const open = (name: string) => openKeyedStore({ fileSystem, clock, path: `${data}/${name}`, name, formatVersion: 1, logger });
    const catalog = await open("catalog");
    const store = await open("topology");
    const defaults = { partitions: 1, sync: { kind: "always" }, segmentBytes: 1 << 20, maxMessageBytes: 1 << 20 } as const;
    const { diskReserveBytes } = options;
    const log = await openEmbeddedLog({
      fileSystem,
      directory: `${data}/topics`,
      clock,
      logger,
      budget,
      catalog,
      defaults,
      ...(diskReserveBytes !== undefined && { diskReserveBytes }),
    });
    const journalOptions = {
      fileSystem,
      directory: `${data}/journal`,
      space: log.space,
      fileBytes: options.journalFileBytes ?? 1 << 20,
      bytesMax: options.journalBytesMax ?? 1 << 29,
      clock,
      logger,
      budget,
      messageBytesMax: 1 << 18,
      ...(options.indexPageItems !== undefined && { indexPageItems: options.indexPageItems }),
    };
    let journal: PinCheck | undefined;
    const broker = await openBroker({
      log,
      openJournal: async (visitor) => {
        journal = await PinCheck.open((watching) => openJournal(journalOptions, watching), visitor, options.directory === undefined);
        return journal;
      },
      store,
      clock,
      logger,
      limits: { ...brokerLimitsSchema.parse({}), ...options.limits },
      publishBudget: budget,
      users: new Users(authSchema.parse({})),
      ...(options.runs !== undefined && { runs: options.runs }),
    });
    return new BrokerNode(options, fileSystem, broker, journal as unknown as PinCheck, log, errors);
  }

  get host(): VirtualHost {
    return this.broker.virtualHost("/") as VirtualHost;
  }

  /** A durable queue of nobody in particular. */
  queue(name: string, args: Arguments = {}): Promise<QueueState> {
    return this.host.declareQueue(name, { durable: true, exclusive: false, autoDelete: false, arguments: args }, this);
  }

  exchange(name: string, type: string, args: Arguments = {}): Promise<void> {
    return this.host.declareExchange(name, { type, durable: true, autoDelete: false, internal: false, arguments: args });
  }

  async stop(): Promise<void> {
    await this.broker.close();
    await this.log.close();
  }

  /** A clean stop, and a start. */
  async restart(): Promise<BrokerNode> {
    await this.stop();
    return BrokerNode.on(this.options, this.fileSystem);
  }

  /** kill -9, and a start: the page cache stays. */
  kill(): Promise<BrokerNode> {
    return BrokerNode.on(this.options, (this.fileSystem as SimulatedFileSystem).kill());
  }

  /** Loss of power, and a start. */
  crash(): Promise<BrokerNode> {
    return this.startOn((this.fileSystem as SimulatedFileSystem).crash());
  }

  /** As this one, on what was left of its disk. */
  startOn(fileSystem: FileSystem): Promise<BrokerNode> {
    return BrokerNode.on(this.options, fileSystem);
  }
}

/** Lets what waits for the next turns of the loop run. */
export async function turns(count = 20): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise((resolve) => setImmediate(resolve));
}
