import type { Json, KeyedStore } from "../log/contract/keyedStore.ts";
import type { QueueId } from "../log/contract/queueJournal.ts";
import { storeKey } from "./topology.ts";

const key = storeKey("queue-ids");
const blockSize = 256;

/**
 * Numbers of queues, never reused, not even those of queues that a restart does away with: the journal may still hold what was for
 * them. Reserved in blocks, so that a temporary queue costs no write. They go on above what the journal knows, too: a topology that is older
 * than the journal, or gone, would give a queue's number a second time otherwise, and with it the queue's messages.
 */
export class QueueIds {
  private next: QueueId;
  private reservedEnd: QueueId;
  private reserving: Promise<void> | undefined;

  constructor(private readonly store: KeyedStore) {
    this.next = this.reservedEnd = (store.entries.get(key) as number | undefined) ?? 1;
  }

  /** The highest one that was ever given; 0: none was. */
  get last(): QueueId {
    return this.next - 1;
  }

  /** What the journal tells of at a start, before any is taken. Its block is used up: who was given the others may have left no trace. */
  seen(id: QueueId): void {
    if (id >= this.next) this.next = this.reservedEnd = Math.ceil(id / blockSize) * blockSize + 1;
  }

  async take(): Promise<QueueId> {
    while (this.next === this.reservedEnd) await (this.reserving ??= this.reserve());
    return this.next++;
  }

  private async reserve(): Promise<void> {
    try {
      const reservedEnd = this.reservedEnd + blockSize;
      await this.store.change(new Map<string, Json>([[key, reservedEnd]]));
      this.reservedEnd = reservedEnd;
    } finally {
      this.reserving = undefined;
    }
  }
}
