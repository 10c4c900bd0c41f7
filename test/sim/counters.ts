/** What must have happened in a run of many seeds: each fault, and each of its consequences. Operations are counted by themselves. */
const mustBeMet = [
  "fault: kill: a write under way is cut short",
  "fault: power loss: an unsynced write is dropped",
  "fault: power loss: an unsynced write is torn",
  "fault: power loss: an unsynced truncate is dropped",
  "fault: power loss: a later change survives an earlier one",
  "fault: power loss: an unsynced name change is dropped",
  "fault: EIO on read",
  "fault: EIO on readFile",
  "fault: EIO on write",
  "fault: EIO on sync",
  "fault: EIO on syncDirectory",
  "fault: EIO on open",
  "fault: EIO on rename",
  "fault: EIO on removeFile",
  "fault: EIO on truncate",
  "fault: ENOSPC on write",
  "fault: ENOSPC: the disk is full",
  "fault: a second process on the directory is refused",
  "fault: end by clean",
  "fault: end by kill",
  "fault: end by power",
  "a start is killed on its way",
  "a start fails and says so",
  "a stop fails and says so",
  "a read fails and says so",
  "a partition is cut back after a failure",
  "a batch that failed is sent again",
  "a batch that is there is sent again",
  "a message is published again",
  "an append fails with LOG_FAILED",
  "an append fails with LOG_DISK_FULL",
  "an append fails with TOPIC_DELETED",
  "a publish fails with JOURNAL_FAILED",
  "a publish is refused with JOURNAL_FULL",
  "a transaction is committed",
  "a transaction is aborted",
  "a transaction is open after a start",
  "fault: a flipped bit in .log",
  "fault: a flipped bit in .index",
  "fault: a flipped bit in .timeindex",
  "fault: a flipped bit in .snapshot",
  "fault: a flipped bit in /catalog",
  "fault: a flipped bit in /topology",
  "fault: a flipped bit in .journal",
  "fault: a flipped bit in .segment",
  "fault: a flipped bit in .dead",
  "fault: damage of a bit",
  "fault: damage of some bytes",
  "fault: damage of a hole",
  "a damaged batch is refused, and the rest served",
  "a start is refused for a flipped bit in /catalog",
  "a start is refused for a flipped bit in /topology",
  "a flipped bit in .log is found and named",
  "a flipped bit in .journal is found and named",
  "a flipped bit in .segment is found and named",
  "a flipped bit in .dead is found and named",
  "compaction: a pass begins",
  "compaction: a pass ends",
  "compaction: a pass is interrupted by kill",
  "compaction: a pass is interrupted by power",
  "compaction: a pass that failed is begun again",
  "compaction: a segment is replaced",
  "compaction: a replacement goes on at a start",
  "a record was compacted away",
  "a tombstone was compacted away",
  "a compacted partition is cut back after a failure",
  "a read of a compacted topic fails and says so",
  "a transaction of keys ends with commit",
  "a transaction of keys ends with abort",
  "a transaction of keys is open after a start",
  "retention by time removed keys",
  "retention by size removed something",
  "retention by time removed something",
];

export class Counters {
  private readonly counts = new Map<string, number>(mustBeMet.map((name) => [name, 0]));

  add(counts: Readonly<Record<string, number>>): void {
    for (const [name, count] of Object.entries(counts)) this.counts.set(name, (this.counts.get(name) ?? 0) + count);
  }

  table(): string {
    const names = [...this.counts.keys()].sort();
    return names.map((name) => `${String(this.counts.get(name)).padStart(10)}  ${name}`).join("\n");
  }

  missing(): string[] {
    return [...this.counts].filter(([, count]) => count === 0).map(([name]) => name);
  }
}
