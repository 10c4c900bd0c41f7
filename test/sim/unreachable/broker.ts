import type { ByFile } from "./places.ts";

export const ofTheBroker: ByFile = {
  "src/broker/queueRecovery.ts": {
    never: {
      "the journal leaves transient messages out of a replay before it asks the queues": ["if (!message.persistent)"],
    },
    rare: {
      "a run of a segment that is written anew: test/log/journal/journalCrash.test.ts": ["runMoved:"],
    },
  },
  "src/broker/topicDedupe.ts": {
    never: {
      "no stream here has a window by time: test/broker/dedupe.test.ts has": ["const most =", "const since =", "for (let span"],
      "there is always a batch below the high watermark": ["if (bytes.length === 0)"],
      "what was read has an end": ["next = endOffsetOf"],
    },
    rare: {
      "more ids than two windows in one read: test/broker/dedupe.test.ts": ["if (found.length >"],
      "damage of which nobody can say where it ends": ["next = error.readableFrom ?? end"],
    },
  },
  "src/broker/topicDeletion.ts": {
    never: {
      "streams are not deleted here: test/broker/topology.test.ts does": [
        "if (kind !==",
        "if (log.topic(name)",
        "export async function deleteTopicQueue",
      ],
    },
  },
};
