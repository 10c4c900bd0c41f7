import type { ByteBudget } from "../../../base/byteBudget.ts";
import type { Clock } from "../../../base/clock.ts";
import type { FileSystem } from "../../../base/fileSystem.ts";
import type { Logger } from "../../../base/logger.ts";
import type { TopicConfig } from "../../contract/partitionedLog.ts";
import type { DiskSpace } from "../diskSpace.ts";
import type { OpenHandles } from "../reading/openHandles.ts";
import type { BatchBuffers } from "./openBatches.ts";
import type { PartitionStates } from "./partitionState.ts";

/** What the partitions of a log have in common. */
export interface PartitionSurroundings {
  readonly fileSystem: FileSystem;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly budget: ByteBudget;
  readonly states: PartitionStates;
  readonly handles: OpenHandles;
  readonly buffers: BatchBuffers;
  readonly space: DiskSpace;
  /** See KEY_MEMORY_BYTES_MAX, the default. */
  readonly keyMemoryBytesMax: number | undefined;
  /** A producer that appended nothing for so long is forgotten. */
  readonly producerIdExpirationMs: number;
}

export interface PartitionOptions {
  readonly folder: string;
  readonly topic: string;
  readonly partition: number;
  readonly config: TopicConfig;
  /** See EmbeddedTopic.onCut. */
  readonly onCut: (offset: number) => void;
}
