import type { Clock } from "../base/clock.ts";
import type { Logger } from "../base/logger.ts";
import type { QueueId, QueueJournal } from "../log/contract/queueJournal.ts";
import type { ContentCacheLimits } from "./contentCache.ts";
import type { DeliveryTurns } from "./deliveryTurns.ts";
import type { Queue } from "./queue.ts";
import type { RunLimits } from "./readyMessages.ts";

/** What all queues of a node share. */
export interface QueueSurroundings {
  /** Not there yet while it replays. */
  journal: QueueJournal | undefined;
  /** Every queue that is there, by its number. */
  readonly queues: Map<QueueId, Queue>;
  readonly turns: DeliveryTurns;
  readonly contentCache: ContentCacheLimits;
  readonly readAhead: ContentCacheLimits;
  readonly runs: RunLimits;
  readonly clock: Clock;
  readonly logger: Logger;
}
