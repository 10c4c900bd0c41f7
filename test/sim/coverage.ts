import { readFileSync } from "node:fs";
import { SourceMap } from "node:module";
import path from "node:path";

/** Code that a start or a failure goes through: every block of it must have been entered in a run. */
export const recoveryFiles = [
  "src/log/directoryLock.ts",
  "src/log/keyedStore.ts",
  "src/log/keyedStoreCopy.ts",
  "src/log/keyedStoreFormat.ts",
  "src/log/keyedStoreTwins.ts",
  "src/log/embedded/partition/recovery.ts",
  "src/log/embedded/partition/partitionRepair.ts",
  "src/log/embedded/partition/partitionTrouble.ts",
  "src/log/embedded/partition/partitionFolder.ts",
  "src/log/embedded/compaction/compaction.ts",
  "src/log/embedded/compaction/cleanedSegment.ts",
  "src/log/embedded/compaction/segmentReplacement.ts",
  "src/log/embedded/segment/indexCheck.ts",
  "src/log/embedded/segment/segmentScan.ts",
  "src/log/embedded/producers/snapshotFile.ts",
  "src/log/embedded/producers/producerLoad.ts",
  "src/log/journal/start/journalScan.ts",
  "src/log/journal/start/recovery.ts",
  "src/log/journal/start/replay.ts",
  "src/log/journal/start/cleanStop.ts",
  "src/log/journal/files/rescue.ts",
  "src/log/journal/openJournal.ts",
  "src/log/journal/files/journalMessages.ts",
  "src/log/journal/segments/segments.ts",
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
}

/** Nothing but the ends of statements: V8 counts what would run after a return. */
const noCode = /^[\s{}()[\];,]*$/;

/** The blocks of the recovery files that no thread has entered. */
export function blocksMissed(bundle: string, entered: readonly Uint8Array[]): Block[] {
  const source = readFileSync(bundle, "utf8");
  const map = new SourceMap(JSON.parse(readFileSync(`${bundle}.map`, "utf8")));
  const folder = path.dirname(bundle);
  const lineStarts = [0];
  for (let at = source.indexOf("\n"); at !== -1; at = source.indexOf("\n", at + 1)) lineStarts.push(at + 1);
  const missed = new Map<string, Block>();
  for (const [from, to] of gaps(source.length, entered)) {
    for (const at of lineBegins(source, from, to)) {
      const line = lineStarts.findLastIndex((start) => start <= at);
      const entry = map.findEntry(line, at - (lineStarts[line] as number));
      if (!("originalSource" in entry)) continue;
      const file = path.relative(process.cwd(), path.resolve(folder, entry.originalSource));
      if (!(recoveryFiles as readonly string[]).includes(file)) continue;
      const text = (readFileSync(file, "utf8").split("\n")[entry.originalLine] ?? "").trim();
      missed.set(`${file}:${entry.originalLine}`, { file, line: entry.originalLine + 1, text });
      break; // a block is named by its first line
    }
  }
  return [...missed.values()].sort((a, b) => (a.file === b.file ? a.line - b.line : a.file < b.file ? -1 : 1));
}

/** What is said to take luck, and had it: what one seed in fifty enters comes off the list, what one in hundreds does stays. */
export const rareAndMet = (missed: readonly Block[], unreachable: readonly Unreachable[]): string[] =>
  unreachable
    .filter((one) => one.how === "rare" && !missed.some((block) => isAbout(one, block)))
    .map(({ file, text }) => `said to be rare, and entered: ${file}: ${text}`);

const isAbout = (one: Unreachable, block: Block): boolean => one.file === block.file && block.text.startsWith(one.text);

/** What must not be missed, and what is said to be unreachable and is not. */
export function judgeMissed(missed: readonly Block[], unreachable: readonly Unreachable[]): string[] {
  const unexplained = missed.filter((block) => !unreachable.some((one) => isAbout(one, block)));
  const reached = unreachable.filter((one) => one.how === "never" && !missed.some((block) => isAbout(one, block)));
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

function* gaps(length: number, entered: readonly Uint8Array[]): Generator<readonly [from: number, to: number]> {
  let from = -1;
  for (let at = 0; at <= length; at++) {
    const isMissed = at < length && entered.every((one) => one[at] === 0);
    if (isMissed && from < 0) from = at;
    if (isMissed || from < 0) continue;
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
