import { ByteBudget } from "../../src/base/byteBudget.ts";
import type { Clock } from "../../src/base/clock.ts";
import { MillraceError } from "../../src/base/errors.ts";
import type { FileSystem } from "../../src/base/fileSystem.ts";
import type { LogFields, Logger } from "../../src/base/logger.ts";
import { openBroker } from "../../src/broker/broker.ts";
import { authSchema, brokerLimitsSchema } from "../../src/broker/config.ts";
import type { Broker, VirtualHost } from "../../src/broker/contract.ts";
import { Users } from "../../src/broker/users.ts";
import type { EmbeddedLog } from "../../src/log/contract/embeddedLog.ts";
import type { KeyedStore } from "../../src/log/contract/keyedStore.ts";
import type { QueueJournal } from "../../src/log/contract/queueJournal.ts";
import { type DirectoryLock, lockDirectory } from "../../src/log/directoryLock.ts";
import { catalogVersion } from "../../src/log/embedded/catalog.ts";
import { openEmbeddedLog } from "../../src/log/embedded/embeddedLog.ts";
import { allInUse } from "../../src/log/embedded/partition/partitionState.ts";
import { openJournal } from "../../src/log/journal/openJournal.ts";
import { type KeyedStoreOptions, openKeyedStore } from "../../src/log/keyedStore.ts";
import type { ProcessTable } from "../../src/log/processTable.ts";

export const dataDirectory = "/data";
export const topicsDirectory = `${dataDirectory}/topics`;
export const journalDirectory = `${dataDirectory}/journal`;

/** Drawn from the seed once: all processes of one run have the same configuration. */
export interface NodeSettings {
  readonly journalFileBytes: number;
  readonly journalFilesMax: number;
  readonly queueCacheBytesMax: number;
  readonly openMax: number;
  readonly diskReserveBytes: number;
}

export interface NodeSurroundings {
  readonly fileSystem: FileSystem;
  readonly clock: Clock;
  readonly processes: ProcessTable;
  readonly pause: (ms: number) => Promise<void>;
}

/** What was logged as a warning or an error, with its fields as text: whoever says that something is damaged says where. */
export class LogLines implements Logger {
  readonly lines: string[] = [];

  constructor(
    private readonly trace: (line: () => string) => void = () => undefined,
    /** For whoever counts what a node does of itself. */
    private readonly informed: (message: string) => void = () => undefined,
  ) {}

  debug(): void {}

  info(message: string): void {
    this.informed(message);
  }

  warn(message: string, fields: LogFields = {}): void {
    this.say(message, fields);
  }

  error(message: string, fields: LogFields = {}): void {
    this.say(message, fields);
  }

  child(): Logger {
    return this;
  }

  private say(message: string, fields: LogFields): void {
    const line = `${message} ${textOf(fields)}`;
    this.lines.push(line);
    this.trace(() => `log: ${line.replaceAll("\n", " ")}`);
  }
}

export function textOf(value: unknown): string {
  if (value instanceof MillraceError) return value.toText();
  if (value instanceof Error) return value.message;
  if (typeof value !== "object" || value === null) return String(value);
  return Object.entries(value)
    .map(([key, field]) => `${key}=${textOf(field)}`)
    .join(" ");
}

const limits = brokerLimitsSchema.parse({});
const users = new Users(authSchema.parse({}));
const messageBytesMax = 3000;
const segmentBytes = 3000;
const maintenanceIntervalMs = 5000;
/** Longer than a run: what has expired is no promise any more, and the model knows no other. */
const producerIdExpirationMs = 10 * 365 * 24 * 3_600_000;
/** So that the stores are written anew now and then. */
const deadBytesMin = 4096;
/** A few dozen keys: what does not fit waits for the next pass. */
const compactionKeyBytesMax = 2048;
/** So that a few messages in a row are a run already. */
const indexPageItems = 32;
const runs = { fetchedFirst: 2, fetchedMax: 8, stretchMin: 2 };

/** What a node is without its listeners: the lock, the catalog, the log, the topology, and the broker with its journal. */
export class SimulatedNode {
  private constructor(
    readonly log: EmbeddedLog,
    readonly broker: Broker,
    readonly journal: QueueJournal,
    readonly stores: readonly KeyedStore[],
    private readonly closers: readonly (() => Promise<void>)[],
  ) {}

  static async start(surroundings: NodeSurroundings, settings: NodeSettings, logger: Logger): Promise<SimulatedNode> {
    const { fileSystem, clock, processes, pause } = surroundings;
    const closers: (() => Promise<void>)[] = [];
    try {
      await fileSystem.makeDirectory(dataDirectory);
      const lock: DirectoryLock = await lockDirectory({ fileSystem, directory: dataDirectory, processes, pause });
      closers.unshift(() => lock.release());
      const budget = new ByteBudget("publish", 1 << 20);
      const store = (name: string, formatVersion: number, more: Partial<KeyedStoreOptions> = {}) =>
        openKeyedStore({ fileSystem, clock, logger, path: `${dataDirectory}/${name}`, name, formatVersion, deadBytesMin, ...more });
      const catalog = await store("catalog", catalogVersion, { whenCut: allInUse });
      closers.unshift(() => catalog.close());
      const { openMax, diskReserveBytes } = settings;
      const defaults = { segmentBytes, maxMessageBytes: 1 << 16 };
      const log = await openEmbeddedLog({
        fileSystem,
        directory: topicsDirectory,
        clock,
        logger,
        budget,
        catalog,
        defaults,
        openMax,
        diskReserveBytes,
        maintenanceIntervalMs,
        producerIdExpirationMs,
        compactionKeyBytesMax,
      });
      closers.unshift(() => log.close());
      const topology = await store("topology", 1);
      closers.unshift(() => topology.close());
      const { journalFileBytes: fileBytes, journalFilesMax, queueCacheBytesMax } = settings;
      const bytesMax = fileBytes * journalFilesMax;
      const journalLimits = { messageBytesMax, fileBytes, bytesMax, indexPageItems };
      const journalOptions = { fileSystem, clock, logger, budget, directory: journalDirectory, space: log.space, ...journalLimits };
      let journal: QueueJournal | undefined;
      const broker = await openBroker({
        log,
        store: topology,
        clock,
        logger,
        publishBudget: budget,
        openJournal: async (visitor) => {
          journal = await openJournal(journalOptions, visitor);
          return journal;
        },
        limits: { ...limits, queueCacheBytesMax },
        runs,
        users,
      });
      closers.unshift(() => broker.close());
      return new SimulatedNode(log, broker, journal as unknown as QueueJournal, [catalog, topology], closers);
    } catch (error) {
      for (const close of closers) await close().catch(() => undefined);
      throw error;
    }
  }

  get host(): VirtualHost {
    return this.broker.virtualHost("/") as VirtualHost;
  }

  /** In the order of the server: the broker first, the lock last. Throws the first failure, after all of it was tried. */
  async stop(): Promise<void> {
    const failures: unknown[] = [];
    for (const close of this.closers) await close().catch((error: unknown) => failures.push(error));
    if (failures.length > 0) throw failures[0];
  }
}
