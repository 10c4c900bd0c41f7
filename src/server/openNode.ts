/** The composition root: makes every layer, bottom up, and hands each what it needs. Nobody else knows all of them. */
import { ByteBudget } from "../base/byteBudget.ts";
import { systemClock } from "../base/clock.ts";
import type { Logger } from "../base/logger.ts";
import { nodeFileSystem } from "../base/nodeFileSystem.ts";
import { openBroker } from "../broker/broker.ts";
import type { Broker } from "../broker/contract.ts";
import { topologyVersion } from "../broker/topology.ts";
import { Users } from "../broker/users.ts";
import type { NodeConfig } from "../config/nodeConfig.ts";
import { journalOptions, topicDefaults } from "../log/config.ts";
import type { EmbeddedLog } from "../log/contract/embeddedLog.ts";
import { type DirectoryLock, lockDirectory } from "../log/directoryLock.ts";
import { catalogVersion } from "../log/embedded/catalog.ts";
import { openEmbeddedLog } from "../log/embedded/embeddedLog.ts";
import { allInUse } from "../log/embedded/partition/partitionState.ts";
import { openJournal } from "../log/journal/openJournal.ts";
import { type KeyedStoreOptions, openKeyedStore } from "../log/keyedStore.ts";
import { serveLog } from "../log/remote/serveLog.ts";
import { Closers } from "./closers.ts";
import { serveControl } from "./control.ts";
import { type DataDirectory, makeDataDirectory, unreadable, unusable } from "./dataDirectory.ts";
import { bringToVersion } from "./dataVersion.ts";
import { Node } from "./node.ts";
import { openListener } from "./openListener.ts";
import { Pipelines } from "./pipelines.ts";
import { version } from "./version.ts";

export interface NodeSurroundings {
  readonly logger: Logger;
  /** A taken port is said, and the next free one taken: for development. */
  readonly nextPortIfTaken?: boolean;
  /** Relative paths of sinks count from here. */
  readonly baseDirectory: string;
}

/** How old a pipeline's status may be. */
const statusIntervalMs = 250;
/** A pipeline that does not load in this time does not hold up the node. */
const pipelinesStartMsMax = 15_000;
/** AMQP's smallest frame. */
const frameBytesMin = 4096;

export async function openNode(config: NodeConfig, surroundings: NodeSurroundings): Promise<Node> {
  const { logger } = surroundings;
  const frame = new Closers(logger);
  const layers = new Closers(logger);
  try {
    const data = await makeDataDirectory(nodeFileSystem, config.data);
    const lock = await lockDirectory({ fileSystem: nodeFileSystem, directory: data.root }).catch((error: unknown) => {
      throw unusable(error, data.root);
    });
    frame.add("the directory's lock", () => lock.release());
    await bringToVersion(nodeFileSystem, data.root, logger).catch((error: unknown) => {
      throw unusable(error, data.root);
    });
    const { log, broker } = await openStores(config, data, logger, layers).catch((error: unknown) => {
      throw unreadable(error, data.root);
    });
    const listener = await openListener(config.listeners.amqp, broker, logger, surroundings.nextPortIfTaken === true);
    const pipelines = newPipelines(config, surroundings, data, log);
    const node = new Node({ dataDirectory: data.root, logger, broker, log, listener, pipelines, layers, frame });
    try {
      await openControl(node, data, lock, logger, frame);
      await startPipelines(pipelines, data);
    } catch (error) {
      await node.stop().catch(() => undefined); // logged
      throw unusable(error, data.root);
    }
    logger.info("node is ready", { version, amqp: node.addresses.amqp, data: data.root });
    return node;
  } catch (error) {
    await layers.closeAll().catch(() => undefined); // logged; the first cause is what counts
    await frame.closeAll().catch(() => undefined);
    throw error;
  }
}

async function openStores(
  config: NodeConfig,
  data: DataDirectory,
  logger: Logger,
  layers: Closers,
): Promise<{ readonly log: EmbeddedLog; readonly broker: Broker }> {
  const surroundings = { fileSystem: nodeFileSystem, clock: systemClock, logger };
  const budget = new ByteBudget("publish", config.log.pendingBytesMax);
  const store = (path: string, name: string, formatVersion: number, whenCut?: KeyedStoreOptions["whenCut"]) =>
    openKeyedStore({ ...surroundings, path, name, formatVersion, ...(whenCut && { whenCut }) });

  const catalog = await store(data.catalog, "catalog", catalogVersion, allInUse);
  layers.add("the catalog", () => catalog.close());
  const log = await openEmbeddedLog({
    ...surroundings,
    directory: data.topics,
    budget,
    catalog,
    defaults: topicDefaults(config.log),
    diskReserveBytes: config.log.diskReserveBytes,
    producerIdExpirationMs: config.log.producerIdExpirationMs,
  });
  layers.add("the log", () => log.close());
  const topology = await store(data.topology, "topology", topologyVersion);
  const messageBytesMax = contentBytesMax(config.listeners.amqp);
  const journal = { ...surroundings, directory: data.journal, space: log.space, budget, messageBytesMax, ...journalOptions(config.log) };
  const broker = await openBroker({
    log,
    openJournal: (visitor) => openJournal(journal, visitor),
    store: topology,
    clock: systemClock,
    logger,
    limits: config.limits,
    publishBudget: budget,
    users: new Users(config.auth),
  });
  layers.add("the broker", () => broker.close());
  return { log, broker };
}

/** The largest message with its frames as a client may cut them: the header, and 8 bytes around each part of the body. */
function contentBytesMax({ messageBytesMax, frameBytesMax }: NodeConfig["listeners"]["amqp"]): number {
  return frameBytesMax + messageBytesMax + 8 * Math.ceil(messageBytesMax / (frameBytesMin - 8));
}

function newPipelines(config: NodeConfig, { logger, baseDirectory }: NodeSurroundings, data: DataDirectory, log: EmbeddedLog): Pipelines {
  return new Pipelines(config.pipelines, {
    clock: systemClock,
    logger,
    bundleDirectory: data.bundles,
    run: {
      serveLog: (port) => serveLog(log, port),
      checkpointDirectory: data.checkpoints,
      baseDirectory,
      options: { checkpointIntervalMs: config.checkpoints.intervalMs, pullBytesMax: config.checkpoints.pullBytesMax },
      statusIntervalMs,
      crashAt: process.env.MILLRACE_CRASH_AT,
    },
  });
}

/** How each one is going is in the node's status. */
async function startPipelines(pipelines: Pipelines, data: DataDirectory): Promise<void> {
  if (pipelines.hosts.length === 0) return;
  await nodeFileSystem.removeTree(data.bundles);
  await nodeFileSystem.makeDirectory(data.checkpoints);
  const late = new Promise<void>((resolve) => systemClock.after(pipelinesStartMsMax, resolve));
  await Promise.race([pipelines.start(), late]);
}

async function openControl(node: Node, data: DataDirectory, lock: DirectoryLock, logger: Logger, frame: Closers): Promise<void> {
  const control = await serveControl(data.socket, (request) => node.answer(request), logger);
  frame.add("the control socket", () => control.close());
  await lock.setInfo({ control: control.path });
}
