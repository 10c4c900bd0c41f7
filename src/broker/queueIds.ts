import type { Json, KeyedStore } from "../log/contract/keyedStore.ts";
import type { QueueId } from "../log/contract/queueJournal.ts";
import { storeKey } from "./topology.ts";

const key = storeKey("queue-ids");
const blockSize = 256;

/**
 * Numbers of queues, never reused, not even those of queues that a restart does away with: the journal may still hold what was for
 * them. Reserved in blocks, so that a temporary queue costs no write.
 */
export class QueueIds {
  private next: QueueId;
  private reservedEnd: QueueId;

  constructor(private readonly store: KeyedStore) {
    this.next = this.reservedEnd = (store.entries.get(key) as number | undefined) ?? 1;
  }

  /** Not to be called again before it has resolved. */
  async take(): Promise<QueueId> {
    if (this.next === this.reservedEnd) {
      const reservedEnd = this.reservedEnd + blockSize;
      await this.store.change(new Map<string, Json>([[key, reservedEnd]]));
      this.reservedEnd = reservedEnd;
    }
    return this.next++;
  }
}
