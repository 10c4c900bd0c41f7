import type { Replacement } from "./replacing.ts";

/** A way to break the code on purpose, so that it shows that the simulation finds what it is for. */
export interface Mutant extends Replacement {
  readonly name: string;
  /** The first seeds find it: CI tries these, so that a simulation that sees nothing any more fails there. */
  readonly isFoundSoon?: true;
}

export const mutants: readonly Mutant[] = [
  {
    name: "an append with `always` is acknowledged without its sync",
    file: "src/log/embedded/partition/partitionFiles.ts",
    from: "await writer.write(piece, now, sync && piece === last);\n      if (sync) await writer.sync();",
    to: "await writer.write(piece, now, false);",
  },
  {
    name: "what was written in pieces is taken for synced with the last of them",
    file: "src/log/embedded/segment/segmentWriter.ts",
    from: "let unsynced = this.syncedEnd.offset !== this.nextOffset;",
    to: "let unsynced = false;",
  },
  {
    name: "a synced write of the journal is taken for a sync of what was written before it",
    file: "src/log/journal/queueJournal.ts",
    from: "chunk.needsSync && used > 0 && this.unsynced.length === 0;",
    to: "chunk.needsSync && chunk.used > 0;",
  },
  {
    name: "recovery does not cut the torn tail",
    file: "src/log/embedded/partition/recovery.ts",
    from: "await file.truncate(end);",
    to: "",
  },
  {
    name: "recovery does not sync what a killed process left in the page cache",
    file: "src/log/embedded/partition/recovery.ts",
    from: "    await file.sync();\n",
    to: "",
    isFoundSoon: true,
  },
  {
    name: "the producers are not read from the batches behind the last snapshot",
    file: "src/log/embedded/producers/producerLoad.ts",
    from: "if (baseOffsetAt(bytes, at) >= known) producers.applyBatch(bytes, at, now);",
    to: "",
    isFoundSoon: true,
  },
  {
    name: "a new segment's name is not synced",
    file: "src/log/embedded/segment/segmentWriter.ts",
    from: "    await closedIfFails(next, () => this.fileSystem.syncDirectory(this.folder));\n",
    to: "",
  },
  {
    name: "a segment is not synced before the next one is begun",
    file: "src/log/embedded/segment/segmentWriter.ts",
    from: "    await this.sync();\n    await this.active.syncIndexes();\n    await writeSnapshot",
    to: "    this.syncedEnd = this.end;\n    await this.active.syncIndexes();\n    await writeSnapshot",
  },
  {
    name: "the keyed store does not sync its entries",
    file: "src/log/keyedStoreTwins.ts",
    from: "  await handle.sync();\n",
    to: "",
  },
  {
    name: "the journal's replay does not check the chain",
    file: "src/log/journal/files/wholeEntries.ts",
    from: " || view.getUint32(end + 8, true) !== previous) break;",
    to: ") break;",
  },
  {
    name: "the journal's replay passes over acknowledgements",
    file: "src/broker/queueRecovery.ts",
    from: "known(queue)?.replayAcknowledged(offset);",
    to: "",
    isFoundSoon: true,
  },
  {
    name: "a segment of the journal gets its name before it is synced",
    file: "src/log/journal/segments/segmentWriter.ts",
    from: "await handle.sync();",
    to: "",
  },
  {
    name: "a file of the journal is used again before its new name is synced",
    file: "src/log/journal/files/journalFiles.ts",
    from: "        await this.fileSystem.rename(oldest.path, making);\n        await this.fileSystem.syncDirectory(this.directory);",
    to: "        await this.fileSystem.rename(oldest.path, making);",
  },
  {
    name: "a requeued copy is looked for in the list as it was before it was sorted",
    file: "src/broker/requeuedCopies.ts",
    from: "const at = this.indexOf(offset); // first",
    to: "const before = this.copies; if (!this.sorted) return before[this.indexOf(offset)]?.position; const at = this.indexOf(offset); // first",
  },
  {
    name: "what a failed sync left is taken for synced",
    file: "src/log/embedded/partition/partitionFiles.ts",
    from: "const synced = this.writer?.synced ?? this.known.synced",
    to: "const synced = this.writer?.end ?? this.known.synced",
    isFoundSoon: true,
  },
  {
    name: "a reader serves a batch whatever its checksum says",
    file: "src/log/embedded/reading/partitionReader.ts",
    from: "      if (problem !== undefined) {",
    to: "      if (problem !== undefined && problem.code !== 'BATCH_CORRUPT') {",
  },
  {
    name: "a reader of committed records is given those of aborted transactions",
    file: "src/log/embedded/reading/committedBatches.ts",
    from: "if (isHidden(bytes, at, aborted)) {",
    to: "if (isHidden(bytes, at, [])) {",
  },
  {
    name: "an aborted transaction's entry is believed whatever its checksum says",
    file: "src/log/embedded/transactions/abortedIndex.ts",
    from: "if (bytes.readUInt16BE(at) !== versionOf(bytes, at)) return",
    to: "if (bytes.length === 0) return",
  },
  {
    name: "a batch is served whatever its offset's checksum says",
    file: "src/record/batchMark.ts",
    from: "if (!isMarked(bytes, at) || hasOwnOffset(bytes, at)) return undefined;",
    to: "if (bytes.length > 0) return undefined;",
  },
  {
    name: "the keyed store takes damage before valid entries for a torn end",
    file: "src/log/keyedStoreFormat.ts",
    from: "if (entryEnd(bytes, found) !== undefined)\n",
    to: "if (bytes.length < 0)\n",
    isFoundSoon: true,
  },
  {
    name: "a file of the journal goes before what it says of the segments is saved",
    file: "src/log/journal/openJournal.ts",
    from: "beforeFree: () => writeBehind.saveDead(),",
    to: "beforeFree: async () => undefined,",
  },
  {
    name: "a cleaned segment takes the old ones' place before its name is synced",
    file: "src/log/embedded/compaction/compaction.ts",
    from: "      await fileSystem.syncDirectory(folder);\n      await partition.files.replace(",
    to: "      await partition.files.replace(",
  },
  {
    name: "compaction drops a tombstone at the second pass, whatever its time",
    file: "src/log/embedded/compaction/compactionPass.ts",
    from: "this.horizonIsOver = horizon !== undefined && horizon <= now;",
    to: "this.horizonIsOver = horizon !== undefined;",
  },
  {
    name: "the records of an aborted transaction replace others of their keys",
    file: "src/log/embedded/compaction/dirtyKeys.ts",
    from: " && !isHidden(bytes, at, aborted)) {",
    to: ") {",
  },
  {
    name: "compaction forgets a producer's last batch",
    file: "src/log/embedded/compaction/compactionPass.ts",
    from: "this.emptyStays = next === this.groupEnd || isLast;",
    to: "this.emptyStays = next === this.groupEnd;",
  },
  {
    name: "a partition whose disk failed does not try again",
    file: "src/log/embedded/partition/partitionTrouble.ts",
    from: "      this.timeIsUp = true;\n",
    to: "",
  },
];
