/**
 * The log in this process: a folder of partitions' folders, and the catalog that knows whose they are.
 * Creating makes the folders durable before the catalog names them; deleting marks the catalog's entry, takes the
 * folders away and removes the entry. So a crash leaves nothing half: an entry has its folders, and a folder without one is nobody's.
 */
import path from "node:path";
import type { ByteBudget } from "../../base/byteBudget.ts";
import type { Clock } from "../../base/clock.ts";
import { MillraceError } from "../../base/errors.ts";
import type { FileSystem } from "../../base/fileSystem.ts";
import type { Logger } from "../../base/logger.ts";
import type { NewRecord } from "../../record/record.ts";
import type { EmbeddedLog, EmbeddedTopic } from "../contract/embeddedLog.ts";
import type { KeyedStore } from "../contract/keyedStore.ts";
import type { PartitionDescriptor, PartitionReader, ProducerIdentity, TopicConfig, TopicDescription } from "../contract/partitionedLog.ts";
import { Catalog, type CatalogEntry } from "./catalog.ts";
import { folderFor, partitionFolder } from "./names.ts";
import { Partition } from "./partition.ts";
import { closedError } from "./partitionErrors.ts";
import { createPartitionFolder, removeDeletedFolders, setAside } from "./partitionFolder.ts";
import { openPartitionReader } from "./partitionReader.ts";
import { recoverPartition } from "./recovery.ts";
import { Topic } from "./topic.ts";
import { checkSameConfig, checkTopicConfig, checkTopicName } from "./topicConfig.ts";

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
  readonly defaults: TopicConfig;
}

/** Opens all topics; each partition is recovered, so this takes as long as reading the last segments. */
export async function openEmbeddedLog(options: EmbeddedLogOptions): Promise<EmbeddedLog> {
  const log = new LogDirectory(options);
  await log.open();
  return log;
}

class LogDirectory implements EmbeddedLog {
  private readonly topics = new Map<string, Topic>();
  private readonly catalog: Catalog;
  /** Creating and deleting, one after the other. */
  private lastChange: Promise<unknown> = Promise.resolve();
  private closed = false;

  constructor(private readonly options: EmbeddedLogOptions) {
    this.catalog = new Catalog(options.catalog);
  }

  async open(): Promise<void> {
    const { fileSystem, directory } = this.options;
    await fileSystem.makeDirectory(directory);
    await removeDeletedFolders(fileSystem, directory);
    for (const [name, entry] of this.catalog.entries()) {
      if (entry.deleting) await this.removeFolders(name, entry);
      else this.topics.set(name, await this.openTopic(name, entry));
    }
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

  async openReader(descriptor: PartitionDescriptor): Promise<PartitionReader> {
    return openPartitionReader(descriptor, this.options.fileSystem);
  }

  async append(
    producer: ProducerIdentity,
    topic: string,
    partition: number,
    sequence: number,
    records: readonly NewRecord[],
  ): Promise<void> {
    await this.known(topic).partition(partition).appendAs(producer, sequence, records);
  }

  async producerState(
    name: string,
    topic: string,
    partition: number,
  ): Promise<{ readonly epoch: number; readonly nextSequence: number } | undefined> {
    return this.known(topic).partition(partition).producerState(name);
  }

  async sync(topic: string): Promise<void> {
    await Promise.all(this.known(topic).partitions.map((partition) => partition.sync()));
  }

  deleteTopic(name: string): Promise<void> {
    return this.change(async () => {
      const { description, partitions } = this.known(name);
      const entry = new Map(this.catalog.entries()).get(name) as CatalogEntry;
      this.topics.delete(name);
      await Promise.all(partitions.map((partition) => partition.abandon()));
      await this.catalog.put(name, { folder: entry.folder, config: description.config, deleting: true });
      await this.removeFolders(name, entry);
    });
  }

  async close(): Promise<void> {
    this.closed = true;
    const closing = new Map<Partition, Promise<void>>();
    const failures: unknown[] = [];
    const closeAll = async (): Promise<void> => {
      for (const { partitions } of this.topics.values()) {
        for (const partition of partitions) {
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
    throw new MillraceError("UNKNOWN_TOPIC", `There is no topic "${name}".`, { domain: "user", where: name });
  }

  private async createNow(name: string, config: TopicConfig): Promise<Topic> {
    const { fileSystem } = this.options;
    const before = new Map(this.catalog.entries()).get(name);
    if (before?.deleting) await this.removeFolders(name, before); // its deletion failed
    const taken = new Set([...this.catalog.entries()].map(([, { folder }]) => folder.toLowerCase()));
    const entry: CatalogEntry = { folder: folderFor(name, taken), config, deleting: false };
    for (const folder of this.foldersOf(entry)) await createPartitionFolder(fileSystem, folder);
    await this.catalog.put(name, entry);
    return this.openTopic(name, entry);
  }

  private async openTopic(name: string, entry: CatalogEntry): Promise<Topic> {
    const { fileSystem, clock, logger, budget } = this.options;
    const folders = this.foldersOf(entry);
    const partitions: Partition[] = [];
    for (const [partition, folder] of folders.entries()) {
      const recovered = await recoverPartition(fileSystem, folder, logger);
      if (recovered.damage !== undefined) logger.error("a partition is damaged", { folder, error: recovered.damage.toText() });
      partitions.push(
        new Partition({ fileSystem, clock, logger, budget, folder, topic: name, partition, config: entry.config }, recovered),
      );
    }
    return new Topic(name, entry.config, folders, partitions);
  }

  private async removeFolders(name: string, entry: CatalogEntry): Promise<void> {
    const { fileSystem, directory } = this.options;
    for (const folder of this.foldersOf(entry)) await setAside(fileSystem, directory, folder);
    await fileSystem.syncDirectory(directory);
    await this.catalog.remove(name);
    await removeDeletedFolders(fileSystem, directory);
  }

  private foldersOf({ folder, config }: CatalogEntry): string[] {
    return Array.from({ length: config.partitions }, (_, i) => path.join(this.options.directory, partitionFolder(folder, i)));
  }
}

function withDefaults(config: Partial<TopicConfig>, defaults: TopicConfig): TopicConfig {
  return {
    partitions: config.partitions ?? defaults.partitions,
    sync: config.sync ?? defaults.sync,
    segmentBytes: config.segmentBytes ?? defaults.segmentBytes,
    maxMessageBytes: config.maxMessageBytes ?? defaults.maxMessageBytes,
  };
}
