import type { JournalVisitor, QueueId } from "../log/contract/queueJournal.ts";
import type { Queue } from "./queue.ts";
import type { QueueIds } from "./queueIds.ts";

/**
 * Fills the queues from the journal, and tells it later where what it holds belongs. What is for a queue that is not there any more
 * (deleted, or never meant to outlive a restart) is passed over: nobody pins it, so its file becomes free.
 * Its number is not given again.
 */
export function queueFiller(queues: ReadonlyMap<QueueId, Queue>, ids: QueueIds): JournalVisitor {
  const known = (id: QueueId): Queue | undefined => {
    ids.seen(id);
    return queues.get(id);
  };
  return {
    kept: (run) => known(run.queue)?.replayKept(run) === true,
    remembered(id) {
      known(id.queue)?.replayRemembered(id);
    },
    stopped(queue) {
      known(queue.queue)?.replayStopped(queue);
    },
    message(message) {
      if (!message.persistent) return;
      for (const { queue, offset } of message.destinations) known(queue)?.replayMessage(offset, message);
    },
    acknowledged(queue, offset) {
      known(queue)?.replayAcknowledged(offset);
    },
    dropped(queue, belowOffset) {
      known(queue)?.replayDropped(belowOffset);
    },
    holds: (queue, offset, position) => queues.get(queue)?.holds(offset, position) === true,
    remembers: (queue, dedupeId, position) => queues.get(queue)?.dedupe?.positionOf(dedupeId) === position,
    moved: (queue, offset, from, to) => queues.get(queue)?.moved(offset, from, to) === true,
    idMoved: (queue, dedupeId, from, to) => queues.get(queue)?.dedupe?.move(dedupeId, from, to) === true,
    stretch: (run) => queues.get(run.queue)?.stretch(run),
    runMoved: (run, replaced) => queues.get(run.queue)?.runMoved(run, replaced) ?? [],
  };
}
