import path from "node:path";
import type { File, FileSystem } from "../../base/fileSystem.ts";
import { silentLogger } from "../../base/logger.ts";
import { baseOffsetAt, lastOffsetAt } from "../../record/batchHeader.ts";
import { isMarked } from "../../record/batchMark.ts";
import type { LogPosition, PartitionState } from "../embedded/partition/partitionState.ts";
import { findSegmentEnd, type KnownEnd } from "../embedded/partition/recovery.ts";
import { type BatchPlace, placeBehind } from "../embedded/segment/behindDamage.ts";
import { indexesFit } from "../embedded/segment/indexCheck.ts";
import { offsetsBehind, SearchBudget, unlessUnclear } from "../embedded/segment/lookalikes.ts";
import { isCleanedFile, logFileName } from "../embedded/segment/names.ts";
import { scanSegment } from "../embedded/segment/segmentScan.ts";
import { loadAbortedIndex } from "../embedded/transactions/abortedIndex.ts";
import type { LogProblem } from "./logProblem.ts";
import type { TransactionCheck } from "./transactionCheck.ts";

/** It is said how far it is after so many. */
const PROGRESS_BYTES = 8 * 1024 * 1024;

export interface VerifiedSegment {
  readonly nextOffset: number;
  readonly bytes: number;
  readonly batches: number;
  readonly problems: readonly LogProblem[];
}

/** The segment that is written. */
interface LastSegment {
  /** What a start knows of the partition's end. */
  readonly known: KnownEnd;
  readonly state: PartitionState | undefined;
  /** From here on a start reads it. */
  readonly from: LogPosition;
}

export interface SegmentToVerify {
  readonly fileSystem: FileSystem;
  readonly folder: string;
  readonly base: number;
  /** Where the segment behind it begins, or what is known of the end. */
  readonly next: number | LastSegment;
  readonly transactions: TransactionCheck;
  readonly progress: (bytes: number) => void;
}

/** Why a batch with good checksums is bad where it is. */
interface Misplaced {
  readonly what: string;
  readonly isSurplus: boolean;
}

export async function verifySegment(segment: SegmentToVerify): Promise<VerifiedSegment> {
  const { fileSystem, folder, base, next, transactions } = segment;
  const name = path.join(folder, logFileName(base));
  const nextBase = typeof next === "number" ? next : undefined;
  const file = await fileSystem.open(name, "read");
  try {
    const bytes = await file.bytes();
    const problems: LogProblem[] = [];
    const budget = new SearchBudget(bytes); // of all searches together: there may be many holes
    const ends = typeof next === "number" ? undefined : new SegmentEnds(file, name, bytes, next);
    transactions.enterSegment(await loadAbortedIndex(fileSystem, folder, base));
    let nextOffset = base;
    let batches = 0;
    for (let from: number | undefined = 0; from !== undefined; ) {
      const run = await goodBatches(segment, file, { position: from, offset: nextOffset }, bytes);
      nextOffset = run.offset;
      batches += run.batches;
      if (run.position === bytes) break;
      const { position, what, isSurplus } = run;
      const offsets = offsetsBehind(nextOffset, base, nextBase);
      const behind = isSurplus ? undefined : await unlessUnclear(placeBehind(file, position, bytes, offsets, budget), "unclear" as const);
      const found = { file: name, position, offset: nextOffset, what };
      const end = await ends?.at({ position, offset: nextOffset }, behind);
      if (end === "torn") {
        problems.push({
          ...found,
          kind: "tail",
          goesOn: behind !== undefined,
          what: behind === undefined ? what : what + tornBefore(behind),
        });
        break;
      }
      if (end !== undefined) {
        problems.push({ ...found, kind: "lost", what: `${end.lost}: ${what}` });
        break;
      }
      const place = behind === "unclear" ? undefined : behind;
      const goesOn = place && ` (offset ${place.offset} is whole again, at byte ${place.position})`;
      problems.push({ ...found, kind: isSurplus ? "surplus" : "batch", what: what + (goesOn ?? "") });
      nextOffset = place?.offset ?? nextBase ?? nextOffset; // with the damage it is said what is missing
      from = place?.position;
    }
    if (problems.length === 0) problems.push(...(await indexProblems(segment, name, nextBase, nextOffset)));
    return { nextOffset, bytes, batches, problems };
  } finally {
    await file.close();
  }
}

/** From a place on, up to the first bad one or the end. */
async function goodBatches(
  { next, transactions, progress }: SegmentToVerify,
  file: File,
  from: BatchPlace,
  bytes: number,
): Promise<BatchPlace & Misplaced & { readonly batches: number }> {
  let { offset } = from;
  let batches = 0;
  let shown = from.position;
  let misplaced: Misplaced | undefined;
  const { end, problem } = await scanSegment(file, from.position, bytes, true, (buffer, at, position) => {
    if (position - shown >= PROGRESS_BYTES) progress((shown = position));
    misplaced = misplacedAt(buffer, at, { position, offset }, next);
    if (misplaced !== undefined) return "stop";
    offset = lastOffsetAt(buffer, at) + 1;
    batches++;
    transactions.batch(buffer, at);
    return undefined;
  });
  return { position: end, offset, batches, what: problem?.message ?? misplaced?.what ?? "", isSurplus: misplaced?.isSurplus === true };
}

function misplacedAt(buffer: Buffer, at: number, { position, offset }: BatchPlace, next: number | LastSegment): Misplaced | undefined {
  const first = baseOffsetAt(buffer, at);
  if (first < offset) return { what: `offset ${first} comes after ${offset - 1}`, isSurplus: false };
  if (typeof next !== "number") {
    // what a start reads is as it was written, one offset after the other
    if (first === offset || position < next.from.bytes) return undefined;
    return { what: `offsets ${offset} to ${first - 1} are not there`, isSurplus: false };
  }
  if (first < next) return undefined;
  const what = `offset ${first} belongs to the next segment: a failed write or a compaction that did not come to its end left it`;
  // else its offset is damaged: an older release's has no checksum
  return { what, isSurplus: offset === next || isMarked(buffer, at) };
}

/** Says of bad places in the last segment what a start will make of them: by the code of the start itself. */
class SegmentEnds {
  private cutAt: Promise<number | undefined> | undefined;

  constructor(
    private readonly file: File,
    private readonly name: string,
    private readonly bytes: number,
    private readonly last: LastSegment,
  ) {}

  /** Undefined: it is damage, which stays. */
  async at({ position, offset }: BatchPlace, behind: unknown): Promise<"torn" | { readonly lost: string } | undefined> {
    this.cutAt ??= this.findCut();
    if ((await this.cutAt) === position) return "torn";
    const { state, known } = this.last;
    // a start after a clean end looks at nothing, and then cannot go on where the file ends before its batches do
    const isShort = state?.clean === true && state.synced.baseOffset === this.last.from.baseOffset && this.bytes < state.synced.bytes;
    return isShort && behind === undefined ? { lost: lostText(offset, known) } : undefined;
  }

  private async findCut(): Promise<number | undefined> {
    const { file, name, last } = this;
    const { isCut, end } = await findSegmentEnd(file, name, last.from, undefined, last.known.syncedOffset, silentLogger);
    return isCut ? end.position : undefined;
  }
}

export const lostText = (offset: number, { promisedOffset }: KnownEnd): string =>
  `offsets ${offset} to ${promisedOffset - 1} were synced and are not there`;

const tornBefore = (behind: BatchPlace | "unclear"): string =>
  behind === "unclear"
    ? "; nothing says that it was synced, but what is behind it may be whole"
    : `; nothing says that it was synced, but offset ${behind.offset} is whole, at byte ${behind.position}`;

async function indexProblems(
  { fileSystem, folder, base, transactions }: SegmentToVerify,
  file: string,
  nextBase: number | undefined,
  nextOffset: number,
): Promise<LogProblem[]> {
  const unfit = nextBase !== undefined && !(await indexesFit(fileSystem, folder, base));
  const wrong = unfit ? "its indexes do not fit" : transactions.leaveSegment(nextOffset, nextBase === undefined);
  const isSwapped = unfit && (await hasCleanedFiles(fileSystem, folder, base));
  if (isSwapped) return [{ kind: "unfinished", file, position: 0, what: "its indexes were being replaced by a compaction" }];
  return wrong === undefined ? [] : [{ kind: "index", file, position: 0, what: wrong }];
}

async function hasCleanedFiles(fileSystem: FileSystem, folder: string, base: number): Promise<boolean> {
  const segment = path.basename(logFileName(base), ".log");
  return (await fileSystem.list(folder)).some((name) => isCleanedFile(name) && name.startsWith(segment));
}
