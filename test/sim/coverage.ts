import { readFileSync } from "node:fs";
import { SourceMap } from "node:module";
import path from "node:path";

/**
 * Code that a start goes through, or what goes on after a failure: every block of it must have been entered in a run. Not what is about
 * normal work only: appending, reading, retention, the segments of either log as they are written.
 */
export const recoveryFiles = [
  "src/log/directoryLock.ts",
  "src/log/keyedStore.ts",
  "src/log/keyedStoreCopy.ts",
  "src/log/keyedStoreFormat.ts",
  "src/log/keyedStoreTwins.ts",
  "src/log/embedded/catalog.ts",
  "src/log/embedded/diskSpace.ts",
  "src/log/embedded/embeddedLog.ts",
  "src/log/embedded/partition/recovery.ts",
  "src/log/embedded/partition/recoveryWalk.ts",
  "src/log/embedded/partition/partitionFiles.ts",
  "src/log/embedded/partition/partitionRepair.ts",
  "src/log/embedded/partition/partitionTrouble.ts",
  "src/log/embedded/partition/partitionFolder.ts",
  "src/log/embedded/compaction/compaction.ts",
  "src/log/embedded/compaction/cleanedSegment.ts",
  "src/log/embedded/compaction/segmentReplacement.ts",
  "src/log/embedded/segment/behindDamage.ts",
  "src/log/embedded/segment/damagedScan.ts",
  "src/log/embedded/segment/indexCheck.ts",
  "src/log/embedded/segment/lookalikes.ts",
  "src/log/embedded/segment/segmentScan.ts",
  "src/log/embedded/segment/syncedBehind.ts",
  "src/log/embedded/producers/snapshotFile.ts",
  "src/log/embedded/producers/producerLoad.ts",
  "src/log/embedded/transactions/abortedIndex.ts",
  "src/log/embedded/transactions/abortedRecovery.ts",
  "src/log/journal/openJournal.ts",
  "src/log/journal/queueJournal.ts",
  "src/log/journal/start/journalScan.ts",
  "src/log/journal/start/recovery.ts",
  "src/log/journal/start/replay.ts",
  "src/log/journal/start/segmentReplay.ts",
  "src/log/journal/start/cleanStop.ts",
  "src/log/journal/start/cleanStopFormat.ts",
  "src/log/journal/files/diskRoom.ts",
  "src/log/journal/files/fileHeaders.ts",
  "src/log/journal/files/journalFiles.ts",
  "src/log/journal/files/journalMessages.ts",
  "src/log/journal/files/rescue.ts",
  "src/log/journal/files/wholeEntries.ts",
  "src/log/journal/segments/segments.ts",
  "src/log/journal/segments/segmentLoad.ts",
  "src/log/journal/segments/segmentMerge.ts",
  "src/log/journal/segments/segmentRepair.ts",
  "src/log/journal/segments/writeBehind.ts",
  "src/broker/queueRecovery.ts",
  "src/broker/topicDedupe.ts",
  "src/broker/topicDeletion.ts",
] as const;

/** A place that need not be reached, and why: see unreachable.ts. `text` begins the line on which the block begins. */
export interface Unreachable {
  readonly file: string;
  readonly text: string;
  readonly how: "never" | "rare";
  readonly why: string;
}

export interface Block {
  readonly file: string;
  readonly line: number;
  readonly text: string;
  /** All of its lines: what is within a block that nobody enters is not entered either. */
  readonly texts: readonly string[];
  /** How many entered it. */
  readonly seeds: number;
}

/** Of so many seeds one enters what need not be met by luck: with a tenth of that another choice of the seed would do to meet it or not. */
export const seldomOf = (seeds: number): number => Math.ceil(seeds / 50);

/** Nothing but the ends of statements: V8 counts what would run after a return. */
const noCode = /^[\s{}()[\];,]*$/;

/** The blocks of the recovery files that fewer seeds than that have entered. @param counted of each thread, see runSeeds */
export function blocksBelow(below: number, bundle: string, counted: readonly Uint16Array[]): Block[] {
  const source = readFileSync(bundle, "utf8");
  const map = new SourceMap(JSON.parse(readFileSync(`${bundle}.map`, "utf8")));
  const folder = path.dirname(bundle);
  const lineStarts = [0];
  for (let at = source.indexOf("\n"); at !== -1; at = source.indexOf("\n", at + 1)) lineStarts.push(at + 1);
  const seeds = Array.from({ length: source.length }, (_, at) => counted.reduce((sum, one) => sum + (one[at] as number), 0));
  const placeOf = (at: number): { file: string; line: number; text: string } | undefined => {
    const line = lineStarts.findLastIndex((start) => start <= at);
    const entry = map.findEntry(line, at - (lineStarts[line] as number));
    if (!("originalSource" in entry)) return undefined;
    const file = path.relative(process.cwd(), path.resolve(folder, entry.originalSource));
    if (!(recoveryFiles as readonly string[]).includes(file)) return undefined;
    return { file, line: entry.originalLine + 1, text: (readFileSync(file, "utf8").split("\n")[entry.originalLine] ?? "").trim() };
  };
  const found = new Map<string, Block>();
  // a block that is entered less often than the one around it comes before it
  for (const most of [...new Set(seeds)].filter((one) => one < below).sort((one, other) => one - other)) {
    for (const [from, to] of gaps(seeds, most)) {
      const lines = [...lineBegins(source, from, to)].flatMap((at) => placeOf(at) ?? []);
      const [first] = lines; // a block is named by it
      if (first === undefined) continue;
      const place = `${first.file}:${first.line}`;
      if (!found.has(place)) found.set(place, { ...first, texts: lines.map(({ text }) => text), seeds: most });
    }
  }
  return [...found.values()].sort((a, b) => (a.file === b.file ? a.line - b.line : a.file < b.file ? -1 : 1));
}

/**
 * What the next change of anything may make a failure or a wrong reason: of what is said to take luck, what did not; of what is said to be
 * entered, what took luck.
 */
export function luckWithBlocks(seldom: readonly Block[], unreachable: readonly Unreachable[]): string[] {
  const often = unreachable.filter((one) => one.how === "rare" && !seldom.some((block) => isWithin(one, block)));
  const unlisted = seldom.filter((block) => block.seeds > 0 && !unreachable.some((one) => isAbout(one, block)));
  return [
    ...often.map(({ file, text }) => `said to be rare, and entered often: ${file}: ${text}`),
    ...unlisted.map(({ file, line, text, seeds }) => `entered by luck, in ${seeds} seeds: ${file}:${line}: ${text}`),
  ];
}

const isAbout = (one: Unreachable, block: Block): boolean => one.file === block.file && block.text.startsWith(one.text);

const isWithin = (one: Unreachable, block: Block): boolean =>
  one.file === block.file && block.texts.some((text) => text.startsWith(one.text));

/** What must not be missed, and what is said to be unreachable and is not. */
export function judgeMissed(missed: readonly Block[], unreachable: readonly Unreachable[]): string[] {
  const unexplained = missed.filter((block) => !unreachable.some((one) => isAbout(one, block)));
  const reached = unreachable.filter((one) => one.how === "never" && !missed.some((block) => isWithin(one, block)));
  const moved = unreachable.filter(
    ({ file, text }) =>
      !readFileSync(file, "utf8")
        .split("\n")
        .some((line) => line.trim().startsWith(text)),
  );
  return [
    ...unexplained.map(({ file, line, text }) => `never entered: ${file}:${line}: ${text}`),
    ...reached.map(({ file, text }) => `said never to be entered, and was: ${file}: ${text}`),
    ...moved.map(({ file, text }) => `said to be hard to enter, and not there any more: ${file}: ${text}`),
  ];
}

function* gaps(seeds: readonly number[], most: number): Generator<readonly [from: number, to: number]> {
  let from = -1;
  for (let at = 0; at <= seeds.length; at++) {
    const isIn = (seeds[at] ?? Number.POSITIVE_INFINITY) <= most;
    if (isIn && from < 0) from = at;
    if (isIn || from < 0) continue;
    yield [from, at];
    from = -1;
  }
}

/** Where there is code on the lines between. */
function* lineBegins(source: string, from: number, to: number): Generator<number> {
  for (let at = from; at < to; ) {
    const newline = source.indexOf("\n", at);
    const end = newline === -1 || newline > to ? to : newline;
    const text = source.slice(at, end);
    if (!noCode.test(text)) yield at + (text.length - text.trimStart().length);
    at = end + 1;
  }
}
