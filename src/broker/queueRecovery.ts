import type { JournalVisitor, QueueId } from "../log/contract/queueJournal.ts";
import type { Queue } from "./queue.ts";

/**
 * Fills the queues from the journal, and tells it later where what it holds belongs. What is for a queue that is not there any more
 * (deleted, or never meant to outlive a restart) is passed over: nobody pins it, so its file becomes free.
 */
export function queueFiller(queues: ReadonlyMap<QueueId, Queue>): JournalVisitor {
  return {
    kept: (run) => queues.get(run.queue)?.replayKept(run) === true,
    remembered(id) {
      queues.get(id.queue)?.replayRemembered(id);
    },
    stopped(queue) {
      queues.get(queue.queue)?.replayStopped(queue);
    },
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
    holds: (queue, offset, position) => queues.get(queue)?.holds(offset, position) === true,
    remembers: (queue, dedupeId, position) => queues.get(queue)?.dedupe?.positionOf(dedupeId) === position,
    moved: (queue, offset, from, to) => queues.get(queue)?.moved(offset, from, to) === true,
    idMoved: (queue, dedupeId, from, to) => queues.get(queue)?.dedupe?.move(dedupeId, from, to) === true,
    stretch: (run) => queues.get(run.queue)?.stretch(run),
    runMoved: (run, replaced) => queues.get(run.queue)?.runMoved(run, replaced) ?? [],
  };
}
