import type { File } from "../../../base/fileSystem.ts";
import { batchBytesAt } from "../../../record/batchHeader.ts";
import { saysSyncedBefore } from "../../../record/batchMark.ts";
import { Lookalikes, type OffsetRange, type SearchBudget } from "./lookalikes.ts";

/**
 * Were the bad bytes at `from` synced once? Then they are damage; else they may be the torn end of what was never synced. A whole batch
 * behind them can say so: that everything before it was synced when it was written. The last write cannot, and looks the same torn or
 * damaged. Returns where that batch begins.
 *
 * A client's bytes that are made to look like one can have a torn end taken for damage, never the other way round. However many there are,
 * the search is bounded: it goes once over the bytes, and checks what looks like a batch only as far as the budget reaches. Throws
 * LOG_CORRUPT if it ends there: then nobody knows.
 *
 * @param offsets what the base offset of a batch behind them can be
 */
export async function findSyncedBehind(
  file: File,
  from: number,
  to: number,
  offsets: OffsetRange,
  budget: SearchBudget,
): Promise<number | undefined> {
  const search = new Lookalikes(file, to, offsets, budget);
  let end = from;
  for await (const found of search.from(from)) {
    // what lies in a whole batch is a client's
    if (found.position < end || !(await search.isWhole(found))) continue;
    if (saysSyncedBefore(found.header, 0)) return found.position;
    end = found.position + batchBytesAt(found.header, 0);
  }
  return undefined;
}

/** The same of one bad place after the other, each behind the one before: with many of them as well it goes once over the file. */
export class SyncedProofs {
  /** Where the batch begins that was found last; undefined: there is no further one. */
  private proof: number | undefined = 0;

  constructor(
    private readonly file: File,
    private readonly to: number,
    private readonly budget: SearchBudget,
  ) {}

  async isBehind(position: number, offsets: OffsetRange): Promise<boolean> {
    const { file, to, budget } = this;
    if (this.proof !== undefined && this.proof <= position) this.proof = await findSyncedBehind(file, position, to, offsets, budget);
    return this.proof !== undefined;
  }
}
