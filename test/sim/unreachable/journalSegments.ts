import type { ByFile } from "./places.ts";

export const ofJournalSegments: ByFile = {
  "src/log/journal/segments/segmentLoad.ts": {
    never: {
      "segments of version 1: test/broker/segments.test.ts": ["if (version === 1", "async function directoryOfVersion1"],
      "a header that is wrong and has a right checksum: test/broker/segments.test.ts": ["if (queuesOrCrc "],
    },
    rare: {
      "test/broker/segments.test.ts: a segment whose entries can't be walked either is refused with file and position, a newer one is not touched":
        ["if (repaired ==="],
      "no test is known to have it for sure": ["const length = most", "if (!isDamage(error)) throw error;"],
    },
  },
  "src/log/journal/segments/segmentMerge.ts": {
    rare: {
      "test/broker/journalWedges.test.ts: a segment whose index and an entry are damaged stays as it is, and the others are rewritten": [
        "if (damaged !== undefined",
        "if (page === undefined",
      ],
      "test/broker/segments.test.ts: segments of version 1 are read: what lives comes, ids are known, and rewritten they are of version 2":
        ["if (item.isId !=", "return isId ? kind"],
      "no test is known to have it for sure": [
        "if (!isWhole(bytes",
        "if (written !== undefined",
        "function undefinedIfDamaged",
        "if (!isEntry(bytes",
      ],
    },
  },
  "src/log/journal/segments/segmentRepair.ts": {
    rare: {
      "test/broker/segments.test.ts: a segment whose entries can't be walked either is refused with file and position, a newer one is not touched":
        ["if (next === undefined", "return undefined", "if (walked === undefined"],
      "test/broker/segments.test.ts: a flipped bit in a segment's header: it is made anew from the entries; nothing is lost, nothing acknowledged comes back":
        ["const item = kind"],
      "test/broker/segments.test.ts: a flipped bit in the header and one in an entry: that message is lost, the others come, some acknowledged ones again":
        ["if (behind >= damaged"],
      "test/broker/segments.test.ts: a flipped bit in a segment's directory: it is made anew from the entries; nothing is lost, nothing acknowledged comes back":
        ["function idOf(file"],
      "test/broker/segments.test.ts: a flipped bit in a segment's index: it is made anew from the entries; nothing is lost, nothing acknowledged comes back":
        ["if (one.isId !=="],
      "no test is known to have it for sure": [
        "here = next;",
        "if (slice.isOver(1 ",
        "if (isOneOfOurs(file",
        "if (at % 65_536 ",
        "if (slice.isOver(1)",
        "if (one.queue !=",
        "for (; n < shared.length ",
      ],
    },
  },
  "src/log/journal/segments/segments.ts": {
    never: {
      "a position that nobody has: a bug of ours": ["if (found === undefined) throw corrupt("],
    },
    rare: {
      "before the journal is open nothing asks": ["hooks: Pick"],
      "more items than a slice takes": ["if (slice.isOver("],
      "a run that is read and is damaged": ["lost(segment"],
      "an index that is damaged": ["if (!isId) continue;", "this.repairing =", "if (repaired === undefined)"],
      "a segment that goes while its index is repaired": ["if (segment.retired) continue;"],
      "test/log/journal/segments.test.ts: a segment whose name may not have reached the disk is gone before a file of the journal goes: it would bring back what was consumed":
        ["for (const file of"],
      "no test is known to have it for sure": [
        "(segment) => this",
        "if (!(await write",
        'this.logger.error("a remembered',
        "private repairIndex",
        "private async repairIndexNow",
        "found.sort((a, b",
        "releaseDurably(run",
      ],
      "test/broker/journalWedges.test.ts: a segment whose index and an entry are damaged stays as it is, and the others are rewritten": [
        "await this.fileSystem.removeFile(making);",
      ],
    },
  },
  "src/log/journal/segments/writeBehind.ts": {
    never: {
      "before the journal is open nothing is acknowledged": ["acknowledged: (queue"],
    },
    rare: {
      "test/broker/segments.test.ts: a purge beside unacknowledged messages: those are there after a crash, and no others": [
        "await run.release",
      ],
      "no test is known to have it for sure": [
        "if (this.retired",
        "return name.last",
        "await this.job.catch",
        "if (run.segment.retired) return false;",
        "} catch (error) {",
        "const created = items",
        "(run) => this.tenants",
        "if (written !== undefined",
        "releaseDurably: ",
        "private async releaseDurably",
        "if (!this.countsAlone",
        "private async acknowledgeEach",
      ],
      "test/broker/journalWedges.test.ts: the disk does not let a damaged file be put aside: it is tried again, and publishing goes on": [
        "if (toPutAside) return",
        "const messages =",
      ],
      "test/broker/writeBehind.test.ts: a flipped bit in a file of the journal is met when it is emptied: the rest is saved, the file is put aside":
        ["if (damaged) file"],
      "test/broker/journalWedges.test.ts: a segment whose index and an entry are damaged stays as it is, and the others are rewritten": [
        "const { segment,",
      ],
    },
  },
};
