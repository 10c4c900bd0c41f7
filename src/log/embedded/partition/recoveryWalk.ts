import { MillraceError } from "../../../base/errors.ts";
import type { File } from "../../../base/fileSystem.ts";
import type { Logger } from "../../../base/logger.ts";
import { baseOffsetAt, lastOffsetAt } from "../../../record/batchHeader.ts";
import { type BatchPlace, placeBehind } from "../segment/behindDamage.ts";
import { type OffsetRange, offsetsBehind, SearchBudget } from "../segment/lookalikes.ts";
import { scanSegment } from "../segment/segmentScan.ts";
import { findSyncedBehind, SyncedProofs } from "../segment/syncedBehind.ts";

interface WalkEnd extends BatchPlace {
  /** Why it ends before the file does. */
  readonly problem: MillraceError | undefined;
  /** There is a whole batch, which is none of the segment. */
  readonly foreign: boolean;
  /** Why nobody can say whether it is a torn end or damage, and where it goes on. */
  readonly unclear?: MillraceError;
}

/** Goes over the batches of a segment in recovery, all of them checked: over damage, which it logs, up to what may be a torn end. */
export class RecoveryWalk {
  holes = 0;
  /** Of all searches together: there may be many holes. */
  private readonly budget: SearchBudget;
  private readonly proofs: SyncedProofs;

  /**
   * @param nextBase where the segment ends that is not the last one: all of it was synced.
   * @param syncedOffset what is below was synced.
   */
  constructor(
    private readonly file: File,
    private readonly name: string,
    private readonly fileBytes: number,
    private readonly baseOffset: number,
    private readonly nextBase: number | undefined,
    private readonly syncedOffset: number,
    private readonly logger: Logger,
  ) {
    this.budget = new SearchBudget(fileBytes);
    this.proofs = new SyncedProofs(file, fileBytes, this.budget);
  }

  async from(start: BatchPlace): Promise<WalkEnd> {
    for (let from = start; ; ) {
      const end = await this.toNextBad(from);
      const behind = await this.behind(end, start.offset).catch((error: unknown) => unclearAt(this.name, end, error));
      if (behind instanceof MillraceError) return { ...end, unclear: behind };
      if (behind === undefined) return end;
      this.holes++;
      logHole(this.logger, this.name, end, behind, end.problem, true);
      from = behind;
    }
  }

  private async toNextBad({ position, offset: first }: BatchPlace): Promise<WalkEnd> {
    let offset = first;
    let foreign = false;
    const { end, problem } = await scanSegment(this.file, position, this.fileBytes, true, (bytes, at) => {
      const base = baseOffsetAt(bytes, at);
      // no checksum covers an older release's offsets; in the last segment, which is as it was written, one follows the other
      foreign = this.nextBase === undefined ? base !== offset : base < offset || base >= this.nextBase;
      if (foreign) return "stop";
      offset = lastOffsetAt(bytes, at) + 1;
      return undefined;
    });
    return { position: end, offset, problem, foreign };
  }

  /** Where it goes on behind damage. Undefined: it is the end, torn or not. */
  private async behind({ position, offset }: BatchPlace, startOffset: number): Promise<BatchPlace | undefined> {
    const { file, fileBytes, baseOffset, nextBase, budget } = this;
    if (position === fileBytes || offset === nextBase) return undefined;
    const offsets = offsetsBehind(offset, baseOffset, nextBase);
    const isDamage = nextBase !== undefined || offset < this.syncedOffset || (await this.proofs.isBehind(position, offsets));
    // behind damage everything that is whole is served, also what nobody knows as synced: it may have been confirmed
    const place = isDamage ? await placeBehind(file, position, fileBytes, offsets, budget) : undefined;
    if (place === undefined && nextBase === undefined && this.holes > 0)
      await this.checkNothingSkipped(position, { ...offsets, from: startOffset });
    return place;
  }

  /**
   * What is taken for a batch behind damage may be a client's bytes, and its offset too high, so that what really comes next seems to come
   * before it: that is synced, and no torn end.
   */
  private async checkNothingSkipped(position: number, offsets: OffsetRange): Promise<void> {
    const { file, fileBytes, syncedOffset, budget } = this;
    const marked = await findSyncedBehind(file, position, fileBytes, offsets, budget);
    const found = marked ?? (await placeBehind(file, position, fileBytes, { ...offsets, before: syncedOffset }, budget))?.position;
    if (found === undefined) return;
    throw new MillraceError("LOG_CORRUPT", "A batch lies behind others with higher offsets.", {
      domain: "external",
      where: `byte ${found}`,
    });
  }
}

/**
 * At each start that meets it: nobody else may read there for long.
 * @param goesOn there is something behind it.
 */
export function logHole(
  logger: Logger,
  file: string,
  from: BatchPlace,
  to: BatchPlace,
  cause: MillraceError | undefined,
  goesOn: boolean,
): void {
  const error = new MillraceError(
    "LOG_CORRUPT",
    `Offsets ${from.offset} to ${to.offset - 1} are damaged; ${goesOn ? "what lies behind them is served" : "nothing lies behind them"}.`,
    {
      domain: "external",
      where: `${file} at byte ${from.position}`,
      cause,
      hint: `Bring the partition's folder back from a backup; or ${goesOn ? "read on behind them" : "go on with new records"}.`,
      readableFrom: to.offset,
    },
  );
  logger.error("a partition is damaged", { file, from: from.position, to: to.position, error: error.toText() });
}

function unclearAt(file: string, { position }: BatchPlace, cause: unknown): MillraceError {
  if (!(cause instanceof MillraceError)) throw cause;
  return new MillraceError("LOG_CORRUPT", "Bad bytes were synced or not, and a batch begins behind them or not: nobody can say.", {
    domain: "external",
    where: `${file} at byte ${position}`,
    cause,
    hint: "Bring the partition's folder back from a backup, or stop the node and cut it there with millrace log repair --cut-damage.",
  });
}
