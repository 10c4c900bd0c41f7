import type { ByFile } from "./places.ts";

export const ofPartitions: ByFile = {
  "src/log/embedded/catalog.ts": {
    never: {
      "an entry of another release: test/log/otherReleases.test.ts": ["throw new MillraceError", "const before = version"],
    },
  },
  "src/log/embedded/compaction/cleanedSegment.ts": {
    never: {
      "a batch of more than 512 KiB: test/log/compaction.test.ts": ["markBatch(bytes, at"],
      "more than 512 KiB in one segment: test/log/compaction.test.ts": ["if (this.filled + end - at >"],
    },
  },
  "src/log/embedded/compaction/compaction.ts": {
    never: {
      "the memory for keys is bounded here, so that it is full": ["this.surroundings.keyMemoryBytesMax"],
    },
    rare: {
      "whoever asks has just said what is replaced": ["if (files.replacing === undefined) return;"],
    },
  },
  "src/log/embedded/embeddedLog.ts": {
    never: {
      "every limit is given here": [
        "const openMax = options",
        "const log = new LogDirectory",
        "space: new DiskSpace",
        "producerIdExpirationMs",
        "this.maintenanceTimer ",
      ],
      "nobody asks for it here: test/log/conformance.test.ts": ["async describeTopic"],
    },
    rare: {
      "test/log/transactions.test.ts: a producer's snapshot of a release without transactions is read": ["checkSameConfig(name"],
      "test/log/topics.test.ts: that are deleted are gone: records, folders, readers and receipts; the name is free again": [
        "if (entry === undefined",
        "const unknownTopic",
      ],
      "nobody asks for it here: test/log/topics.test.ts": [
        "if (this.closed) return Promise",
        "if (this.closed) throw",
        "if (this.closed) void",
      ],
      "test/log/conformance.test.ts: what is not there, or too large, is named": ["throw unknownTopic"],
      "test/log/topics.test.ts: whose deletion failed are finished with when the name is used again": ["if (before !== undefined"],
      "test/log/keeping.test.ts: by size keeps at least that much": ["const state = damaged"],
      "test/log/startOverDamage.test.ts: a dump names the damage, and goes on behind it": ["const made = new"],
      "test/log/behindDamage.test.ts: do not have what was synced cut when the header of the batch that they came in is lost": [
        "for (let partition",
      ],
      "test/log/startOverDamage.test.ts: a client's bytes behind damage do not have cut what only the catalog knows as synced": [
        "this.damaged.set",
      ],
      "test/log/catalogFaults.test.ts: a topic of which the deletion failed is gone, and who deletes it again, or makes one of its name, comes to the end of it":
        ["private async deleteNow"],
      "no test is known to have it for sure": ["await Promise.allSettled", "await Promise.all((topic", "const restingEnd"],
    },
  },
  "src/log/embedded/partition/partitionFiles.ts": {
    rare: {
      "test/log/restart.test.ts: what a clean end left is not cut when it is damaged: the partition can be read up to there and takes nothing":
        ["throw isSaid || "],
      "test/log/transactions.test.ts: stay forgotten after kill -9": ["async checkpoint"],
      "no test is known to have it for sure": [
        "if (writer === undefined",
        "const begin = segmentBegin",
        "if (this.indexed.baseOffset < baseOffset) this.indexed",
        "await this.know({ ...this.known, synced: synced",
      ],
    },
  },
  "src/log/embedded/partition/partitionFolder.ts": {
    never: {
      "nobody else writes into the directory": ['throw new MillraceError("TOPIC_FOLDER_IN_USE"'],
      "nobody else removes from the directory": ['throw new MillraceError("TOPIC_FOLDER_MISSING"'],
    },
    rare: {
      "the disk fails while a topic is made: test/log/catalogFaults.test.ts": ["throw error instanceof MillraceError"],
      "no test is known to have it for sure": ["const unknown = found", 'logger.warn("the'],
    },
  },
  "src/log/embedded/partition/partitionTrouble.ts": {
    rare: {
      "a topic that is deleted while it waits for its disk: test/log/topics.test.ts": ["if (this.over) return;"],
    },
  },
  "src/log/embedded/partition/recovery.ts": {
    never: {
      "nobody else removes from the directory": ["if (lastBase === undefined) throw"],
      "a partition without an entry in the catalog is of a first release": ["const startOffset =", "cleanedTo:"],
      "only somebody else could make a file shorter than what was synced": ["const start = from.bytes"],
    },
    rare: {
      "the catalog does not know of the segment that retention left: test/log/keeping.test.ts": ["const indexed ="],
      "damage below the last snapshot, and a start that reads it: test/log/behindDamage.test.ts": [
        "const isLost =",
        "const damage =",
        "if (endsInHole)",
      ],
      "damage in what a killed process wrote since its last rest: test/log/behindDamage.test.ts flips bits everywhere in it": [
        "if (last?.isDamaged",
        "end = await beginBehind(",
      ],
      "what a cut that did not last left behind: test/log/restart.test.ts, test/log/bytesOutOfPlace.test.ts": ["const isCut ="],
      "test/broker/dedupe.test.ts: a stream with a damaged batch knows the ids of the others after a start; what was damaged is taken again":
        ["async function beginBehind"],
      "no test is known to have it for sure": ["const noSegment ", "const lost = (file"],
    },
  },
  "src/log/embedded/partition/recoveryWalk.ts": {
    rare: {
      "test/log/behindDamage.test.ts: do not have what was synced cut when the header of the batch that they came in is lost": [
        "const behind = await",
      ],
      "test/log/behindDamage.test.ts: do not keep a start busy: of too many that are none the partition is left as it is, can be read up to there, and says so":
        ["if (behind instanceof"],
      "test/log/behindDamage.test.ts: costs the batch that it is in, wherever it is": ["this.holes++;"],
      "test/log/startOverDamage.test.ts: an aborted transaction stays aborted when its marker is damaged, and a snapshot behind it knows that it has ended":
        ["const place = isDamage"],
      "test/log/startOverDamage.test.ts: a client's bytes behind damage do not have cut what only the catalog knows as synced": [
        "await this.checkNothingSkipped",
        "const found = marked ?? ",
        'throw new MillraceError("LOG_CORRUPT", "A batch lies behind others',
        "function unclearAt",
      ],
      "test/log/behindDamage.test.ts: what nobody says was synced is a torn end, and cut, as it was; what was synced before it is not": [
        "private async checkNothingSkipped",
      ],
      "test/log/startOverDamage.test.ts: what a start reads grows with the segment and with the holes in it, and not with the one for each of the other":
        ["export function logHole"],
      "no test is known to have it for sure": [
        "if (foreign) return",
        "`Offsets ${from.offset",
        "hint: `Bring the",
        "return new MillraceError",
      ],
    },
  },
  "src/log/embedded/producers/producerLoad.ts": {
    rare: {
      "no snapshot as new as what a pass goes over: it was damaged": ["return offset >= base ?"],
      "a bit flips in a segment's first snapshot, and then retention takes what is below: test/log/standingProducer.test.ts": [
        "const producers = await loadProducers",
      ],
      "batches that are damaged, and no snapshot behind them: test/log/damagedProducers.test.ts": ["(error) =>"],
      "a segment that compaction replaces while it is read: test/log/compactionCrash.test.ts": ["if ((error as"],
    },
  },
  "src/log/embedded/segment/behindDamage.ts": {
    rare: {
      "test/log/behindDamage.test.ts: are not taken for any when a bit flips in the batch that they came in, be it in its length": [
        "const follower =",
      ],
      "test/log/startOverDamage.test.ts: what is bad at the end of an older segment is logged also when a client's bytes in it make unclear where it goes on":
        ["const behindClaimed", "async function firstFrom"],
      "test/log/behindDamage.test.ts: are not taken for any when the write of the batch that they came in was cut short: nothing is made up, and nothing is cut":
        ["const withinClaimed"],
      "test/log/behindDamage.test.ts: a bit flips in a length's lowest byte: it says so, and goes on behind": ["if (isNear && (await"],
      "no test is known to have it for sure": ["if (misplaced !=", "if (first !== undefined", "if (isOver(position"],
    },
  },
  "src/log/embedded/segment/damagedScan.ts": {
    rare: {
      "no test is known to have it for sure": ["if (baseOffsetAt", "if (problem === undefined"],
    },
  },
  "src/log/embedded/segment/indexCheck.ts": {
    rare: {
      "a time index that lost its end: test/log/damagedTimeIndex.test.ts": ["if (last === undefined)", "return isLater ||"],
      "a segment that goes while its indexes are made again": ["const bytes = (await fileSystem.stat("],
      "an index that is damaged, met by maintenance before anyone else: test/log/restart.test.ts": [
        "if (offsets === undefined ||",
        "if (first && last",
        "if (position - from >=",
        "return fits ? undefined",
      ],
    },
  },
  "src/log/embedded/segment/lookalikes.ts": {
    rare: {
      "test/log/startOverDamage.test.ts: a search is bounded by how many it checks as well, however small they are; a segment full of small batches is within that":
        ["if (this.toCheck"],
      "test/log/behindDamage.test.ts: are not taken for any when the write of the batch that they came in was cut short: nothing is made up, and nothing is cut":
        ["} catch (error) "],
      "test/log/behindDamage.test.ts: do not keep a start busy: of too many that are none the partition is left as it is, can be read up to there, and says so":
        ["const tooMany = ", "if (error instanceof MillraceError) return unclear;"],
      "no test is known to have it for sure": ["if (positions <=", "return (await this", "return (await file", "if (length === 0"],
    },
  },
  "src/log/embedded/segment/segmentScan.ts": {
    rare: {
      "a file that ends within a batch: test/log/restart.test.ts tears it at any byte": ["const needed =", "if (needed <= buffer.length"],
    },
  },
  "src/log/embedded/segment/syncedBehind.ts": {
    rare: {
      "test/log/startOverDamage.test.ts: records are deleted up to, into and over the damage, and its segment goes with them": [
        "if (saysSyncedBefore",
      ],
      "no test is known to have it for sure": ["if (found.position"],
    },
  },
  "src/log/embedded/transactions/abortedIndex.ts": {
    rare: {
      "no test is known to have it for sure": ["return canBe ? entry", "export class AbortedIndexFile"],
    },
  },
  "src/log/embedded/transactions/abortedRecovery.ts": {
    rare: {
      "no test is known to have it for sure": ["const bytes = (await", "const ofHoles = indexed"],
    },
  },
};
