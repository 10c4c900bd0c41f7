import path from "node:path";
import type { Random } from "../../src/base/random.ts";
import { baseOffsetAt, batchBytesAt, lastOffsetAt } from "../../src/record/batchHeader.ts";
import { saysSyncedBefore } from "../../src/record/batchMark.ts";
import type { StoredRecord } from "../../src/record/record.ts";
import { validateBatch } from "../../src/record/validateBatch.ts";
import type { SimulatedFileSystem } from "../support/simulatedFileSystem.ts";
import type { PartitionModel } from "./partitionModel.ts";
import { dataDirectory } from "./simulatedNode.ts";
import { demand } from "./violation.ts";

/** A hole is a sector that the disk has lost: it reads as zeros. */
const extents = ["a bit", "a bit", "some bytes", "a hole"] as const;
const sectorBytes = 512;
/** By where the file's name ends. */
const kinds = [
  ".log",
  ".index",
  ".timeindex",
  ".txnindex",
  ".snapshot",
  "/catalog",
  "/topology",
  ".twin",
  ".journal",
  ".segment",
  ".dead",
] as const;
type Kind = (typeof kinds)[number];

export interface BitFlip {
  readonly kind: Kind;
  readonly file: string;
  readonly position: number;
  readonly extent: (typeof extents)[number];
  /** Of a partition's segment: what it may cost. */
  readonly touched?: TouchedBatches;
  /** Where the bit still is as it was flipped. */
  undo(): void;
}

export interface TouchedBatches {
  /** Offsets of the batches that are damaged. */
  readonly from: number;
  readonly to: number;
  /** Something behind them says that they were synced. */
  readonly isProven: boolean;
  /** The files of the partition's folder, and what was in them before the damage. */
  readonly folder: ReadonlyMap<string, Buffer>;
}

const ledgers = /\/(ledger|journalled)-/;
const keyedStoreMarker = Buffer.from([0xff, 0xfe, 0xc0, 0xf5]);
const journalHeaderBytes = 32;
const journalCommit = 4;

/** A bit somewhere on the disk, but not where a flipped one and a torn write are the same to everybody. Undefined: there is no such file. */
export function flipSomeBit(fileSystem: SimulatedFileSystem, random: Random): BitFlip | undefined {
  const kind = random.below(4) === 0 ? ".log" : random.pick(kinds);
  // what is lost with a transaction's batch has no model
  const files = fileSystem.files(dataDirectory).filter((file) => file.endsWith(kind) && !(kind === ".log" && ledgers.test(file)));
  if (files.length === 0) return undefined;
  const picked = random.pick(files);
  // a segment that is written is one among many, and what a start does with damage in it is the most
  const file = kind === ".log" && random.below(2) === 0 ? (newestOf(files, picked) as string) : picked;
  const bytes = fileSystem.peek(file) as Buffer;
  const later = files.slice(files.indexOf(file) + 1).map((one) => fileSystem.peek(one) as Buffer);
  const spoiled = isStore(kind) && kind !== ".twin" && random.below(2) === 0 ? withItsTwin(fileSystem, file) : [file];
  const isInOther = isStore(kind) && spoiled.length === 1;
  const end = isInOther ? bytes.length : tellableEnd(kind, bytes, !later.some(holdsWhatOutlivesPowerLoss));
  if (end <= 0) return undefined;
  const extent = random.pick(extents);
  // a start looks at what a killed process wrote last
  const begin = kind === ".log" && file === newestOf(files, file) ? Math.floor(end / 2) : 0;
  const anywhere = begin + random.below(end - begin);
  const somewhere =
    kind === ".log" && random.below(8) === 0 ? Math.min(end - 1, offsetAround(bytes, anywhere) + random.below(8)) : anywhere;
  const position = extent === "a hole" ? Math.floor(somewhere / sectorBytes) * sectorBytes : somewhere;
  const until = Math.min(end, position + (extent === "a bit" ? 1 : extent === "some bytes" ? 2 + random.below(20) : sectorBytes));
  const touched = kind === ".log" ? touchedBatches(fileSystem, file, position, until) : undefined;
  const undos: (() => void)[] = [];
  for (let at = position; at < until; at++) {
    const mask = extent === "a hole" ? (bytes[at] as number) : extent === "a bit" ? 1 << random.below(8) : random.below(256);
    if (mask !== 0) for (const one of spoiled) undos.unshift(fileSystem.flip(one, at, mask));
  }
  if (undos.length === 0) return undefined;
  const undo = (): void => {
    for (const one of undos) one();
  };
  return { kind, file, position, extent, undo, ...(touched && { touched }) };
}

const isStore = (kind: Kind): boolean => kind === "/catalog" || kind === "/topology" || kind === ".twin";

/** What is damaged in one of a keyed store's two files alone comes from the other one. */
const withItsTwin = (fileSystem: SimulatedFileSystem, file: string): string[] =>
  fileSystem.peek(`${file}.twin`)?.equals(fileSystem.peek(file) as Buffer) === true ? [file, `${file}.twin`] : [file];

const newestOf = (files: readonly string[], one: string): string | undefined =>
  files.findLast((file) => path.dirname(file) === path.dirname(one));

/** Where the batch begins that holds a byte, with its offset: a small part of it, and one that has a checksum of its own. */
function offsetAround(bytes: Buffer, position: number): number {
  let at = 0;
  while (validateBatch(bytes, at, bytes.length) === undefined && at + batchBytesAt(bytes, at) <= position) at += batchBytesAt(bytes, at);
  return at;
}

function touchedBatches(fileSystem: SimulatedFileSystem, file: string, position: number, until: number): TouchedBatches {
  const folder = new Map(fileSystem.files(path.dirname(file)).map((one) => [one, Buffer.from(fileSystem.peek(one) as Buffer)]));
  const bytes = folder.get(file) as Buffer;
  let from = Number.POSITIVE_INFINITY;
  let to = 0;
  const logs = [...folder.keys()].filter((other) => other.endsWith(".log"));
  let isProven = newestOf(logs, file) !== file;
  for (let at = 0; validateBatch(bytes, at, bytes.length) === undefined; at += batchBytesAt(bytes, at)) {
    if (at + batchBytesAt(bytes, at) > position && at < until) {
      from = Math.min(from, baseOffsetAt(bytes, at));
      to = lastOffsetAt(bytes, at) + 1;
    }
    isProven ||= at >= until && saysSyncedBefore(bytes, at);
  }
  return { from, to, isProven, folder };
}

/** What the last write left looks the same, flipped or torn; and the one before it is the last if that gets lost. */
function tellableEnd(kind: Kind, bytes: Buffer, isNewest: boolean): number {
  if (isStore(kind)) return bytes.lastIndexOf(keyedStoreMarker, bytes.lastIndexOf(keyedStoreMarker) - 1);
  if (kind !== ".journal") return bytes.length;
  const { commits, end } = commitsOf(bytes);
  if (!isNewest) return end;
  // only a write that is surely on the disk can say that what is before it had been synced
  const last = commits.at(-1);
  const synced = last === undefined ? 0 : syncedBelow(bytes, last);
  const telling = commits.findLast((commit, i) => (commits[i + 1] ?? end) <= synced && commit > 0);
  return telling === undefined ? 0 : syncedBelow(bytes, telling);
}

const syncedBelow = (bytes: Buffer, commit: number): number => bytes.readUInt32LE(commit + 24);

/** Is something in a file of the journal that a loss of power cannot take? */
const holdsWhatOutlivesPowerLoss = (bytes: Buffer): boolean =>
  commitsOf(bytes).commits.some((commit) => syncedBelow(bytes, commit) > journalHeaderBytes);

/** Where the writes of a journal's file begin, and where the last one ends; what is behind that is of the file's earlier life. */
function commitsOf(bytes: Buffer): { readonly commits: readonly number[]; readonly end: number } {
  const commits: number[] = [];
  let end = journalHeaderBytes;
  let chain = bytes.length < end ? 0 : bytes.readUInt32LE(24);
  for (let length = 0; end + 16 <= bytes.length; end += length) {
    length = bytes.readUInt32LE(end);
    if (length < 16 || length > bytes.length - end || bytes.readUInt32LE(end + 8) !== chain) break;
    chain = bytes.readUInt32LE(end + 4);
    if (bytes[end + 12] === journalCommit) commits.push(end);
  }
  return { commits, end };
}

/**
 * A partition in which a bit is flipped: what it serves is right, what it does not serve is in the damaged segment, and said to be damaged.
 * @param refusals what the reads said that failed.
 * @param isStrict nothing but the damage explains what is missing.
 */
export function checkDamaged(
  model: PartitionModel,
  flip: BitFlip,
  found: readonly StoredRecord[],
  startOffset: number,
  refusals: readonly string[],
  saidCut: boolean,
  isStrict: boolean,
): void {
  for (const refusal of refusals)
    demand(refusal.includes(flip.file), () => `${refusal} does not name ${flip.file}, where a bit was flipped`);
  const missing = model.checkServed(found, startOffset);
  demand(
    refusals.length > 0 || saidCut || missing.length === 0,
    () => `${model.where} does not serve offsets ${missing.join()}, and does not say why`,
  );
  const { from, to } = flip.touched as TouchedBatches;
  const beside = missing.filter((offset) => offset < from || offset >= to);
  demand(
    !isStrict || beside.length === 0,
    () => `${model.where} does not serve offsets ${beside.join()}, and only ${from} to ${to - 1} are damaged`,
  );
}
