import type { Unreachable } from "./coverage.ts";

/** By reason, how the lines begin on which the blocks begin. */
type Places = Readonly<Record<string, readonly string[]>>;

/**
 * By file, the places that need not be reached. never: it must not be reached, or its place here is wrong. rare: it takes more luck than
 * some hundred seeds have, and a test meets it for sure. What is not here must be entered.
 */
const byFile: Readonly<Record<string, { readonly never?: Places; readonly rare?: Places }>> = {
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
      "streams are not deleted here: test/broker/topology.test.ts does": ["if (kind !==", "if (log.topic(name)"],
    },
  },
  "src/log/directoryLock.ts": {
    never: {
      "the table of processes is simulated": ["const processes ="],
      "a simulated process has an identity": ["const identity ="],
      "many that start at once: test/log/directoryLock.test.ts": [
        "if (!(await make(",
        "if (standing?.pid",
        "await remove(options, own);",
        "throw locked(options.directory, undefined)",
        'if (isCode(error, "EEXIST")) return false;',
        "const who =",
      ],
      "what the holder tells others is no part of this": ["async setInfo("],
    },
    rare: {
      "a lock that is damaged: test/log/directoryLock.test.ts": ["return namesProcess(content)", "if (typeof content"],
      "a lock that goes while it is read: test/log/directoryLock.test.ts": ['if (isCode(error, "ENOENT")) return undefined;'],
    },
  },
  "src/log/embedded/compaction/cleanedSegment.ts": {
    never: {
      "a batch of more than 512 KiB: test/log/compaction.test.ts": ["markBatch(bytes, at"],
      "more than 512 KiB in one segment: test/log/compaction.test.ts": ["if (this.filled + end - at >"],
    },
    rare: {
      "more than 16 MiB in one segment": ["await this.segment.sync();"],
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
  "src/log/embedded/partition/partitionFolder.ts": {
    never: {
      "nobody else writes into the directory": ['throw new MillraceError("TOPIC_FOLDER_IN_USE"'],
      "nobody else removes from the directory": ['throw new MillraceError("TOPIC_FOLDER_MISSING"'],
    },
    rare: {
      "the disk fails while a topic is made: test/log/catalogFaults.test.ts": ["throw error instanceof MillraceError"],
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
      "a partition without an entry in the catalog is of a first release": [
        "const promisedOffset =",
        "const syncedOffset =",
        "const startOffset =",
        "cleanedTo:",
      ],
      "only somebody else could make a file shorter than what was synced": ["const start = from.bytes"],
    },
    rare: {
      "the catalog does not know of the segment that retention left: test/log/keeping.test.ts": ["const indexed ="],
      "damage below the last snapshot, and a start that reads it: test/log/behindDamage.test.ts": [
        "const isLost =",
        "const damage =",
        "const endsInHole =",
        "if (endsInHole)",
      ],
      "damage in what a killed process wrote since its last rest: test/log/behindDamage.test.ts flips bits everywhere in it": [
        "if (last?.isDamaged",
        "end = await beginBehind(",
      ],
      "what a cut that did not last left behind: test/log/restart.test.ts, test/log/bytesOutOfPlace.test.ts": ["const isCut ="],
    },
  },
  "src/log/embedded/producers/producerLoad.ts": {
    rare: {
      "no snapshot as new as what a pass goes over: it was damaged": ["return offset >= base ?"],
      "a bit flips in a segment's first snapshot, and then retention takes what is below: test/log/standingProducer.test.ts": [
        "const producers = await loadProducers",
      ],
      "batches that are damaged, and no snapshot behind them: test/log/damagedProducers.test.ts": ["(error) =>", "({ position, cause"],
      "a segment that compaction replaces while it is read: test/log/compactionCrash.test.ts": ["if ((error as"],
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
  "src/log/embedded/segment/segmentScan.ts": {
    rare: {
      "a file that ends within a batch: test/log/restart.test.ts tears it at any byte": ["const needed =", "if (needed <= buffer.length"],
    },
  },
  "src/log/journal/files/journalMessages.ts": {
    rare: {
      "a message that holds what looks like a commit of another journal: test/log/journal/journal.test.ts": [
        "if (journalId !== undefined && !journalIdAt",
      ],
      "damage of just these bytes: test/log/journal/journalDamage.test.ts has it everywhere in a file": [
        "damagedAt(here);",
        "if (next === undefined) return;",
        "if (at + entryHeadBytes > file.length) return 0;",
        "if (previous === file.readUInt32LE(",
        "if (damaged + entryHeadBytes",
        "const commit =",
        "const searched =",
        "if (lengthAt(file, found - 8)",
      ],
    },
  },
  "src/log/journal/files/rescue.ts": {
    never: {
      "more in memory than one piece: files here are smaller than that": ["if (chunk.used > pieceBytes)", "private async nextPiece("],
      "more copies than a slice takes": ["if (++told %"],
    },
    rare: {
      "what is rescued fills a file": ["chunk.finishFile();"],
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
    },
  },
  "src/log/journal/start/cleanStop.ts": {
    never: {
      "a stop of another time, put back: test/broker/cleanStop.test.ts": ["if (sequences.some", "if ((await scanFile("],
      "millions of messages": ["if (whole === undefined)", "return { bytes: there.bytes", "if (slice.isOver("],
    },
    rare: {
      "a stop of another time, put back: test/broker/cleanStop.test.ts": ["if (last === undefined"],
      "a file is begun, and nothing written in it": ["if (journalId === undefined"],
      "what was moved out of a file is about to be released": ["if (segments.all.some("],
      "a purge is under way: test/broker/cleanStop.test.ts": ["if (queues === undefined)"],
    },
  },
  "src/log/journal/start/recovery.ts": {
    never: {
      "the files here are read in one go: test/log/journal/largeFiles.test.ts": ["continue;"],
    },
    rare: {
      "damage of just these bytes: test/log/journal/journalDamage.test.ts has it everywhere in a file": ["if (window.holds(here, length)"],
    },
  },
  "src/log/journal/openJournal.ts": {
    rare: { "a file fails to close after a start has failed": ["await closeAll(files, opened)"] },
  },
  "src/log/journal/start/journalScan.ts": {
    rare: {
      "the entries end where the file does": ["if ((await handle.read(head"],
      "a missing file: test/log/journal/journalDamage.test.ts": ["this.damagedEntries++;"],
      "damage of just these bytes, in a file that was cut or is the last: test/log/journal/journalDamage.test.ts": [
        "if (at < file.countsTo",
        "if (!cut.first",
        "if (next === undefined) return undefined;",
        "goesOnAt:",
        "return next === undefined",
      ],
      "a file that was given up before anything was in it": ["if (!(await this.hasEntries(file)))"],
    },
  },
  "src/log/keyedStore.ts": {
    never: {
      "the stores here are told when to be written anew": ["if (dead < (this.options"],
    },
    rare: {
      "a start on which just these writes fail: test/log/keyedStoreFaults.test.ts": ["} catch (error) {"],
    },
  },
  "src/log/keyedStoreCopy.ts": {
    never: {
      "a store of more than a megabyte": ["yield encodeEntry(changes);"],
    },
  },
  "src/log/keyedStoreFormat.ts": {
    never: {
      "only somebody else could make the file so short": ["const end = bytes.length < 9"],
      "another store under this name: test/log/keyedStore.test.ts": ["if (name !== identity.name)"],
      "a newer format has a test of its own": [
        "if (bytes.readUInt16LE(6) > identity.formatVersion)",
        "throw tooNew(identity, bytes.readUInt16LE(4)",
      ],
    },
    rare: {
      "damage of just these bytes: test/log/keyedStore.test.ts": [
        "if (bytes.readUInt16LE(4) > containerVersion && !isOursBut",
        "const ours = Buffer.from(header)",
      ],
    },
  },
};

export const unreachable: readonly Unreachable[] = Object.entries(byFile).flatMap(([file, { never = {}, rare = {} }]) => [
  ...listed(file, "never", never),
  ...listed(file, "rare", rare),
]);

function listed(file: string, how: Unreachable["how"], places: Places): Unreachable[] {
  return Object.entries(places).flatMap(([why, texts]) => texts.map((text) => ({ file, text, how, why })));
}
