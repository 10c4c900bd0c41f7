import type { ByFile } from "./places.ts";

export const ofJournalFiles: ByFile = {
  "src/log/journal/files/fileHeaders.ts": {
    never: {
      "somebody put a file there: test/log/journal/journal.test.ts, test/log/tools/verifyJournal.test.ts": [
        "if (header.sequence",
        "throw refused(one",
        "function refused",
      ],
    },
    rare: {
      "test/log/tools/verifyJournal.test.ts: a flipped bit anywhere is said with the file and the position that a start says": [
        "if (header === undefined",
      ],
      "test/broker/topology.test.ts: an exclusive queue is its owner's, and goes with it": ["const fileBytes "],
      "test/log/journal/journalDamage.test.ts: a flipped bit anywhere in a finished file: the start says where, and only what it is in is missing":
        ["const position ="],
      "no test is known to have it for sure": ["const damaged = one", "const headerCrc "],
    },
  },
  "src/log/journal/files/journalFiles.ts": {
    never: {
      "before the journal is open nothing goes": ["hooks: JournalFilesHooks"],
      "a position that nobody has: a bug of ours": ["if (file === undefined)"],
    },
    rare: {
      "test/log/journal/journal.test.ts: a backlog that is gone gives its disk space back, where removing a file fails at first": [
        "this.clock.after(retryAfterMs, () => this.tidy())",
      ],
      "test/broker/journalWedges.test.ts: the disk does not let a damaged file be put aside: it is tried again, and publishing goes on": [
        "if (sequence < first",
        "async putOldestAside",
      ],
      "test/broker/writeBehind.test.ts: a flipped bit in a file of the journal is met when it is emptied: the rest is saved, the file is put aside":
        ["damagedPathOf(sequence"],
      "test/log/journal/journalCrash.test.ts: the same on a disk that refuses writes, syncs and changes of names, a few times in a row": [
        "const superfluous",
        "for (const file of superfluous",
        "await handle.close().catch(() => undefined);",
      ],
      "test/log/journal/journalDamage.test.ts: damage in the last file, in what was synced before later writes, is no torn end; in the last write it is one":
        ["return oldest?.damaged"],
      "test/log/journal/journalDamage.test.ts: a damaged file is put aside when it is empty (alone), not used again": [
        "if (oldest.damaged",
        "private async putAside",
      ],
      "no test is known to have it for sure": [
        "const first = this",
        "const file = expected",
        "this.lastSequence =",
        "return this.list.at",
        ".catch((error: unknown",
        "const leave = (file",
        "if (file.sequence",
        "async freed(): Promise",
      ],
    },
  },
  "src/log/journal/files/journalMessages.ts": {
    rare: {
      "a message that holds what looks like a commit of another journal: test/log/journal/journal.test.ts": [
        "if (journalId !== undefined && !journalIdAt",
      ],
      "damage of just these bytes: test/log/journal/journalDamage.test.ts has it everywhere in a file": [
        "damagedAt(here);",
        "if (at + entryHeadBytes > file.length) return 0;",
        "if (previous === file.readUInt32LE(",
        "if (damaged + entryHeadBytes",
        "const commit =",
        "const searched =",
        "if (lengthAt(file, found - 8)",
      ],
      "no test is known to have it for sure": ["if (checksum.readUInt32LE", "export function destinationOf"],
    },
  },
  "src/log/journal/files/rescue.ts": {
    rare: {
      "what is rescued fills a file": ["chunk.finishFile();"],
      "no test is known to have it for sure": [
        "return found !==",
        "if (chunk.used >",
        "if (++told % tenantsPerSliceMax",
        "private async nextPiece",
        "return new WriteChunk(chunk",
      ],
    },
  },
  "src/log/journal/openJournal.ts": {
    never: {
      "the journal is told here what room there is": ["const allThereIs"],
    },
    rare: {
      "a file fails to close after a start has failed": ["await closeAll(files, opened)"],
    },
  },
  "src/log/journal/queueJournal.ts": {
    never: {
      "a pin that nobody has: a bug of ours": ["if (file.pins <="],
    },
    rare: {
      "test/broker/journalFailure.test.ts: a consumer of a queue that deduplicates gets what was in flight when the disk failed, once it is on the disk":
        ["receipt.join();"],
      "test/log/journal/journal.test.ts: transient messages and acknowledgements alone cost no sync; who joins one of them later waits for one":
        ["(this.chunkAt(position"],
      "test/broker/journalWedges.test.ts: the disk does not let a damaged file be put aside: it is tried again, and publishing goes on": [
        "if (file === undefined",
      ],
      "test/broker/journalFailure.test.ts: while the journal is down a queue can be read and acknowledged; a purge is refused and takes nothing away":
        ["if (refused !== undefined) throw refused;"],
      "test/log/journal/journal.test.ts: after a failed sync who waits is told and nothing is taken; then it goes on in another file with all that was taken":
        ["if (this.down !== undefined) return"],
      "test/log/journal/journal.test.ts: a journal that is closed while the disk refuses ends, with what was confirmed, and the next start goes on":
        ["if (this.down !== undefined) await", "if (this.refusal !== undefined) return false"],
      "test/log/journal/journal.test.ts: a journal that is closed while the disk is full and messages wait for it says that they are lost":
        ["if (this.down !== undefined) throw", "if (this.rescue "],
      "test/broker/writeBehind.test.ts: a flipped bit in a file of the journal is met when it is emptied: the rest is saved, the file is put aside":
        ["const damaged = this"],
      "test/log/journal/journal.test.ts: a message that fits into no file is refused, the next one is taken": ["throw messageTooLarge"],
      "no test is known to have it for sure": [
        "if (this.refusal !== undefined) return;",
        "if (this.stage.full",
        "if (this.syncedBelow < this.written",
        "if (held !== undefined",
        "parts.writeBehind",
      ],
    },
  },
  "src/log/journal/start/cleanStop.ts": {
    never: {
      "a stop of another time, put back: test/broker/cleanStop.test.ts": ["if (sequences.some", "if ((await scanFile("],
      "millions of messages": ["return { bytes: there.bytes"],
    },
    rare: {
      "a stop of another time, put back: test/broker/cleanStop.test.ts": ["if (last === undefined"],
      "a file is begun, and nothing written in it": ["if (journalId === undefined"],
      "what was moved out of a file is about to be released": ["if (segments.all.some("],
      "a purge is under way: test/broker/cleanStop.test.ts": ["if (queues === undefined)"],
    },
  },
  "src/log/journal/start/cleanStopFormat.ts": {
    never: {
      "what a later release wrote: test/broker/cleanStop.test.ts": ["throw new MillraceError"],
    },
    rare: {
      "test/broker/cleanStop.test.ts: if a bit of it flips it is said, and the journal is read": ["if (end < headBytes"],
    },
  },
  "src/log/journal/start/journalScan.ts": {
    rare: {
      "the entries end where the file does": ["if ((await handle.read(head"],
      "damage of just these bytes, in a file that was cut or is the last: test/log/journal/journalDamage.test.ts": [
        "if (at < file.countsTo",
        "if (!cut.first",
        "if (next === undefined) return undefined;",
        "goesOnAt:",
        "return next === undefined",
      ],
      "a file that was given up before anything was in it": ["if (!(await this.hasEntries(file)))"],
      "test/log/journal/journalDamage.test.ts: a missing file is said, and what is in the others is served": [
        "if (cuts.some(({",
        "this.damagedEntries++;",
      ],
      "no test is known to have it for sure": ["from: cut.countsTo", "const countsTo ="],
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
  "src/log/journal/start/segmentReplay.ts": {
    rare: {
      "no test is known to have it for sure": ["if (run.lastOffset", "if (belowOffset "],
    },
  },
};
