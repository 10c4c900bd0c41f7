/**
 * The log in this process: a folder of partitions' folders, and the catalog that knows whose they are.
 * Creating makes the folders durable before the catalog names them; deleting marks the catalog's entry, takes the
 * folders away and removes the entry. So a crash leaves nothing half: an entry has its folders, and a folder without one is nobody's.
 */
import path from "node:path";
import { allOver } from "../../base/allOver.ts";
import type { ByteBudget } from "../../base/byteBudget.ts";
import type { Clock, Timer } from "../../base/clock.ts";
import { MillraceError } from "../../base/errors.ts";
import type { FileSystem } from "../../base/fileSystem.ts";
import type { Logger } from "../../base/logger.ts";
import { nextTurn } from "../../base/nextTurn.ts";
import type { NewRecord } from "../../record/record.ts";
import type { EmbeddedLog, EmbeddedTopic } from "../contract/embeddedLog.ts";
import type { KeyedStore } from "../contract/keyedStore.ts";
import {
  type PartitionDescriptor,
  type PartitionReader,
  type ProducerIdentity,
  type ReaderOptions,
  type TopicConfig,
  type TopicDescription,
  topicConfigDefaults,
} from "../contract/partitionedLog.ts";
import { Catalog, type CatalogEntry } from "./catalog.ts";
import { DiskSpace } from "./diskSpace.ts";
import { BatchBuffers } from "./partition/openBatches.ts";
import { Partition } from "./partition/partition.ts";
import { closedError } from "./partition/partitionErrors.ts";
import {
  checkFoldersThere,
  createPartitionFolder,
  removeDeletedFolders,
  setAside,
  tellUnknownFolders,
} from "./partition/partitionFolder.ts";
import { emptyState, type PartitionState, PartitionStates } from "./partition/partitionState.ts";
import type { PartitionSurroundings } from "./partition/partitionSurroundings.ts";
import { type Recovered, recoverPartition } from "./partition/recovery.ts";
import { checkSameConfig, checkTopicConfig, checkTopicName } from "./partition/topicConfig.ts";
import { OpenHandles } from "./reading/openHandles.ts";
import { openMaxByDefault } from "./reading/openMax.ts";
import { openPartitionReader } from "./reading/partitionReader.ts";
import { folderFor, partitionFolder } from "./segment/names.ts";
import { type CutListeners, Topic } from "./topic.ts";

export interface EmbeddedLogOptions {
  readonly fileSystem: FileSystem;
  readonly directory: string;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Bytes that were appended and are not durable yet, of all partitions. */
  readonly budget: ByteBudget;
  /** Stays the caller's: closed by it, after the log. */
  readonly catalog: KeyedStore;
  /** For what a new topic does not say. */
  readonly defaults: Partial<TopicConfig>;
  /**
   * Partitions and readers that may have files open at the same time; the others wait until it is their turn. A partition has three,
   * and five at most, a reader one, and three at most; what looks after partitions in the background has a dozen beside them. By default
   * 1000, or fewer where that would be more than half of the files that the process may have open.
   */
  readonly openMax?: number;
  /** Nothing is appended when the disk has less than this left. */
  readonly diskReserveBytes?: number;
  /** What compaction may take of memory to remember keys; a partition with more takes more than one pass. */
  readonly compactionKeyBytesMax?: number;
  /** producer.id.expiration.ms: a producer that appended nothing for so long is forgotten, but for those with a name of their own. */
  readonly producerIdExpirationMs?: number;
  /** How often retention and the like look around. */
  readonly maintenanceIntervalMs?: number;
}

const DISK_RESERVE_BYTES = 64 * 1024 * 1024;
/** Kafka's. */
const PRODUCER_EXPIRATION_MS = 24 * 3_600_000;
const MAINTENANCE_INTERVAL_MS = 60_000;
const MAINTAINED_A_TURN = 64;
/** Partitions that are recovered at the same time after a kill: as many as the thread pool has threads to wait with. */
const RECOVERED_AT_ONCE = 8;

/** Opens all topics. After a clean end no file is opened; after another one, those of the partitions that were in use are read. */
export async function openEmbeddedLog(options: EmbeddedLogOptions): Promise<EmbeddedLog> {
  const openMax = options.openMax ?? (await openMaxByDefault(options.fileSystem));
  const log = new LogDirectory({ ...options, openMax });
  await log.open();
  return log;
}

class LogDirectory implements EmbeddedLog {
  private readonly topics = new Map<string, Topic>();
  private readonly catalog: Catalog;
  /** What recovery found, by the partition's folder, until the topics are open. */
  private readonly damaged = new Map<string, Recovered>();
  /** Creating and deleting, one after the other. */
  private lastChange: Promise<unknown> = Promise.resolve();
  private closed = false;
  private readonly surroundings: PartitionSurroundings;
  private readonly states: PartitionStates;
  private maintenance: Promise<void> | undefined;
  private maintenanceTimer: Timer | undefined;

  constructor(private readonly options: EmbeddedLogOptions & { readonly openMax: number }) {
    const { fileSystem, clock, logger, budget, directory } = options;
    this.catalog = new Catalog(options.catalog);
    this.states = new PartitionStates(options.catalog);
    this.surroundings = {
      fileSystem,
      clock,
      logger,
      budget,
      states: this.states,
      handles: new OpenHandles(options.openMax),
      buffers: new BatchBuffers(),
      keyMemoryBytesMax: options.compactionKeyBytesMax,
      space: new DiskSpace(fileSystem, clock, directory, options.diskReserveBytes ?? DISK_RESERVE_BYTES),
      producerIdExpirationMs: options.producerIdExpirationMs ?? PRODUCER_EXPIRATION_MS,
    };
  }

  get space(): DiskSpace {
    return this.surroundings.space;
  }

  async open(): Promise<void> {
    const { fileSystem, directory } = this.options;
    await fileSystem.makeDirectory(directory);
    const names = await fileSystem.list(directory);
    await removeDeletedFolders(fileSystem, directory, names);
    const entries = [...this.catalog.entries()];
    const folders = entries.filter(([, entry]) => !entry.deleting).flatMap(([, entry]) => foldersOf(entry));
    checkFoldersThere(directory, names, folders);
    if (entries.length === 0) tellUnknownFolders(directory, names, this.options.logger);
    await this.recoverAll(folders);
    for (const [name, entry] of entries) {
      if (entry.deleting) await this.removeFolders(name, entry);
      else this.topics.set(name, this.openTopic(name, entry));
    }
    this.damaged.clear();
    this.maintainLater();
  }

  topic(name: string): EmbeddedTopic | undefined {
    return this.topics.get(name);
  }

  topicNames(): string[] {
    return [...this.topics.keys()];
  }

  createTopic(name: string, config: Partial<TopicConfig> = {}): Promise<TopicDescription> {
    return this.change(async () => {
      const existing = this.topics.get(name);
      if (existing !== undefined) {
        checkSameConfig(name, existing.description.config, config);
        return existing.description;
      }
      checkTopicName(name);
      const whole = withDefaults(config, this.options.defaults);
      checkTopicConfig(name, whole);
      const topic = await this.createNow(name, whole);
      this.topics.set(name, topic);
      return topic.description;
    });
  }

  async describeTopic(name: string): Promise<TopicDescription | undefined> {
    return this.topics.get(name)?.description;
  }

  async openReader(descriptor: PartitionDescriptor, options: ReaderOptions = {}): Promise<PartitionReader> {
    return openPartitionReader(descriptor, options, this.options.fileSystem, this.surroundings.handles);
  }

  async append(
    producer: ProducerIdentity,
    topic: string,
    partition: number,
    sequence: number,
    records: readonly NewRecord[],
  ): Promise<void> {
    await this.known(topic).partition(partition).appends.appendAs(producer, sequence, records);
  }

  async producerState(
    name: string,
    topic: string,
    partition: number,
  ): Promise<{ readonly epoch: number; readonly nextSequence: number } | undefined> {
    return this.known(topic).partition(partition).appends.standing(name);
  }

  async sync(topic: string): Promise<void> {
    await Promise.all(this.known(topic).used.map((partition) => partition.sync()));
  }

  deleteTopic(name: string): Promise<void> {
    return this.change(async () => {
      const entry = this.catalog.get(name);
      if (entry === undefined) throw unknownTopic(name);
      await this.catalog.takesChanges();
      const topic = this.topics.get(name); // none: it failed before
      this.topics.delete(name);
      try {
        await this.markDeleting(name, entry);
      } catch (error) {
        // the next start may have it again, with what was confirmed: nobody syncs that any more
        await Promise.allSettled((topic?.used ?? []).map((partition) => partition.sync()));
        throw error;
      } finally {
        // also those that nobody used: whoever has the topic still is told that they are gone
        await Promise.all((topic?.partitions ?? []).map((partition) => partition.abandon()));
      }
      await this.removeFolders(name, entry);
    });
  }

  async deleteRecords(topic: string, partition: number, offset: number): Promise<number> {
    return this.known(topic).partition(partition).deleteRecords(offset);
  }

  maintain(): Promise<void> {
    this.maintenance ??= this.maintainAll().finally(() => {
      this.maintenance = undefined;
    });
    return this.maintenance;
  }

  async close(): Promise<void> {
    this.closed = true;
    this.maintenanceTimer?.cancel();
    const closing = new Map<Partition, Promise<void>>();
    const failures: unknown[] = [];
    const closeAll = async (): Promise<void> => {
      for (const { used } of this.topics.values()) {
        for (const partition of used) {
          if (!closing.has(partition))
            closing.set(
              partition,
              partition.close().catch((error: unknown) => void failures.push(error)),
            );
        }
      }
      await Promise.all(closing.values());
    };
    void closeAll();
    await this.lastChange;
    await closeAll(); // and what was being created
    await this.maintenance;
    if (failures.length > 0) throw failures[0];
  }

  private change<T>(work: () => Promise<T>): Promise<T> {
    if (this.closed) return Promise.reject(closedError(this.options.directory));
    const change = this.lastChange.then(() => {
      if (this.closed) throw closedError(this.options.directory);
      return work();
    });
    this.lastChange = change.catch(() => undefined);
    return change;
  }

  private known(name: string): Topic {
    const topic = this.topics.get(name);
    if (topic !== undefined) return topic;
    throw unknownTopic(name);
  }

  private async createNow(name: string, config: TopicConfig): Promise<Topic> {
    const { fileSystem } = this.options;
    await this.catalog.takesChanges(); // the entry of a try that failed may be on the disk: then its folders must stay until it surely is not
    const before = this.catalog.get(name);
    if (before !== undefined) await this.deleteNow(name, before); // its deletion failed
    const entry: CatalogEntry = { folder: folderFor(name, this.catalog.foldersTaken), config, deleting: false };
    const folders = foldersOf(entry);
    for (const folder of folders) await createPartitionFolder(fileSystem, this.pathOf(folder));
    await this.catalog.put(name, entry, new Map(folders.map((folder) => [folder, emptyState])));
    return this.openTopic(name, entry);
  }

  private openTopic(name: string, { folder: topicFolder, config }: CatalogEntry): Topic {
    const cut: CutListeners = [];
    const folderOf = (partition: number): string => partitionFolder(topicFolder, partition);
    const make = (partition: number): Partition => {
      const folder = folderOf(partition);
      const onCut = (offset: number): void => {
        for (const listener of cut) listener(partition, offset);
      };
      const options = { folder: this.pathOf(folder), topic: name, partition, config, onCut };
      const damaged = this.damaged.get(folder);
      const state = damaged?.state ?? this.states.get(folder) ?? emptyState;
      const made = new Partition(this.surroundings, options, state, damaged?.damage);
      if (this.closed) void made.close(); // nothing of it is open: it takes nothing from this moment on
      return made;
    };
    const restingEnd = (partition: number): number => (this.states.get(folderOf(partition)) ?? emptyState).synced.offset;
    const topic = new Topic(name, config, { make, restingEnd }, cut);
    if (this.damaged.size === 0) return topic;
    for (let partition = 0; partition < config.partitions; partition++) {
      if (this.damaged.has(folderOf(partition))) topic.partition(partition); // what it refuses is in the status from the start on
    }
    return topic;
  }

  /** Those that were in use when the process ended; what is found is remembered, so that the next start need not find it again. */
  private async recoverAll(folders: readonly string[]): Promise<void> {
    const { fileSystem, logger, clock } = this.options;
    const unclean = folders.filter((folder) => {
      const state = this.states.get(folder);
      return state?.clean !== true || state.replacing !== undefined;
    });
    const found = new Map<string, PartitionState>();
    let next = 0;
    const recoverSome = async (): Promise<void> => {
      for (let folder = unclean[next++]; folder !== undefined; folder = unclean[next++]) {
        const recovered = await recoverPartition(fileSystem, this.pathOf(folder), this.states.get(folder), logger, clock.now());
        if (recovered.damage === undefined) {
          found.set(folder, recovered.state);
          continue;
        }
        this.damaged.set(folder, recovered);
        logger.error("a partition is damaged", { folder: this.pathOf(folder), error: recovered.damage.toText() });
      }
    };
    const orStopAll = (error: unknown): never => {
      next = unclean.length;
      throw error;
    };
    await allOver(Array.from({ length: RECOVERED_AT_ONCE }, () => recoverSome().catch(orStopAll)));
    await this.states.putAll(found);
  }

  /** Room is made everywhere first: what else there is to do in one partition may take long, and be cut short in each life of the process. */
  private async maintainAll(): Promise<void> {
    await this.eachPartition((partition) => partition.makeRoom());
    await this.eachPartition((partition) => partition.maintain());
  }

  /** One partition after the other, so that it is nowhere in the way. */
  private async eachPartition(lookAfter: (partition: Partition) => Promise<void>): Promise<void> {
    const { logger } = this.options;
    let seen = 0;
    for (const [name, { partitions }] of this.topics) {
      for (const partition of partitions) {
        if (++seen % MAINTAINED_A_TURN === 0) await nextTurn(); // of one at rest nothing else waits
        if (this.closed) return;
        try {
          await lookAfter(partition);
        } catch (error) {
          logger.warn("could not look after a partition", { topic: name, error });
        }
      }
    }
  }

  private maintainLater(): void {
    const { clock, maintenanceIntervalMs } = this.options;
    if (this.closed) return;
    this.maintenanceTimer = clock.after(maintenanceIntervalMs ?? MAINTENANCE_INTERVAL_MS, () => {
      void this.maintain().then(() => this.maintainLater());
    });
  }

  /** A topic that nobody uses any more; also one whose deletion failed on its way. */
  private async deleteNow(name: string, entry: CatalogEntry): Promise<void> {
    await this.markDeleting(name, entry);
    await this.removeFolders(name, entry);
  }

  private async markDeleting(name: string, entry: CatalogEntry): Promise<void> {
    if (!entry.deleting) await this.catalog.put(name, { ...entry, deleting: true });
  }

  private async removeFolders(name: string, entry: CatalogEntry): Promise<void> {
    const { fileSystem, directory } = this.options;
    const folders = foldersOf(entry);
    for (const folder of folders) await setAside(fileSystem, directory, this.pathOf(folder));
    await fileSystem.syncDirectory(directory);
    await this.catalog.remove(name, new Map(folders.map((folder) => [folder, null])));
    await removeDeletedFolders(fileSystem, directory, await fileSystem.list(directory));
  }

  private pathOf(folder: string): string {
    return path.join(this.options.directory, folder);
  }
}

/** The names of its partitions' folders. */
const foldersOf = ({ folder, config }: CatalogEntry): string[] =>
  Array.from({ length: config.partitions }, (_, partition) => partitionFolder(folder, partition));

function withDefaults(asked: Partial<TopicConfig>, defaults: Partial<TopicConfig>): TopicConfig {
  const said = Object.fromEntries(Object.entries(asked).filter(([, value]) => value !== undefined));
  return { ...topicConfigDefaults, ...defaults, ...said };
}

const unknownTopic = (name: string): MillraceError =>
  new MillraceError("UNKNOWN_TOPIC", `There is no topic "${name}".`, {
    domain: "user",
    where: name,
    hint: "Create it first, or correct its name.",
  });
