import type { JournalVisitor, QueueId } from "../log/contract/queueJournal.ts";
import type { Queue } from "./queue.ts";

/**
 * Fills the queues from the journal. What is for a queue that is not there any more (deleted, or never meant to outlive a restart)
 * is passed over: nobody pins it, so its file becomes free.
 */
export function queueFiller(queues: ReadonlyMap<QueueId, Queue>): JournalVisitor {
  return {
    message(message) {
      if (!message.persistent) return;
      for (const { queue, offset } of message.destinations) queues.get(queue)?.replayMessage(offset, message);
    },
    acknowledged(queue, offset) {
      queues.get(queue)?.replayAcknowledged(offset);
    },
    dropped(queue, belowOffset) {
      queues.get(queue)?.replayDropped(belowOffset);
    },
  };
}
