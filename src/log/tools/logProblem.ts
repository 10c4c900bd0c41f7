/**
 * What a look at the files finds. Harmless, as a start deals with it by itself and nothing that was acknowledged is lost: "surplus",
 * batches that the next segment has too; "unfinished", a compaction's swap of files that the next start ends; "state", a snapshot of
 * producers, or what a stop wrote down of the queues: the batches or the journal say it too. Torn: "tail", the end of a file, which the next
 * start cuts; mostly a write that was not finished, but if it was confirmed it is damaged, and nothing says which of both. Damage:
 * "batch", bad bytes that nothing cuts; "lost", what was synced is not there at an end; "missing", offsets, files or folders that are not
 * there; "index", what can be made again; "stray", a folder with data that no topic has; "entry", an entry of the queues' journal;
 * "file", what says what a file is, or a whole file; "store", the catalog, the topology, a checkpoint.
 */
type ProblemKind = keyof typeof weights;

type Weight = "harmless" | "torn" | "damage";

const weights = {
  tail: "torn",
  surplus: "harmless",
  unfinished: "harmless",
  state: "harmless",
  batch: "damage",
  lost: "damage",
  missing: "damage",
  index: "damage",
  stray: "damage",
  entry: "damage",
  file: "damage",
  store: "damage",
} as const;

export interface LogProblem {
  readonly kind: ProblemKind;
  readonly file: string;
  readonly position: number;
  readonly what: string;
  /** Of a bad batch or an end: what comes before it in its partition is below. */
  readonly offset?: number;
  /** Of a torn end: batches behind it are whole, or may be. */
  readonly goesOn?: boolean;
}

export const weightOf = ({ kind }: LogProblem): Weight => weights[kind];

const looksMax = 3;
/** Of a look that fails, as a file is gone when it is opened. */
const failuresMax = 10;

/**
 * Beside a node that runs (`live`) a file may be written, replaced or removed while it is read. That looks like damage once, but not twice
 * at the same place; and an end that is being written is no torn one.
 */
export async function steadyProblems<T extends { readonly problems: readonly LogProblem[] }>(
  live: boolean,
  look: () => Promise<T>,
): Promise<T> {
  if (!live) return look();
  let found: T | undefined;
  for (let looks = 0, failures = 0; ; ) {
    let next: T;
    try {
      next = await look();
    } catch (error) {
      if (++failures >= failuresMax) throw error;
      continue;
    }
    const before = found?.problems;
    const still = next.problems.filter(
      (one) => one.kind !== "tail" && (before === undefined || before.some((other) => isSame(one, other))),
    );
    found = { ...next, problems: still };
    if (still.length === 0 || ++looks >= looksMax) return found;
  }
}

const isSame = (one: LogProblem, other: LogProblem): boolean =>
  one.kind === other.kind && one.file === other.file && one.position === other.position;
