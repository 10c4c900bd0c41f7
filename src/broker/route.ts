import type { Queue } from "./queue.ts";
import type { TopicTarget } from "./topicQueue.ts";

/** Where a message goes: each destination once. */
export interface Route {
  readonly queues: readonly Queue[];
  readonly topics: readonly TopicTarget[];
  /** Some destination remembers message-ids. */
  readonly dedupes: boolean;
}
