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
