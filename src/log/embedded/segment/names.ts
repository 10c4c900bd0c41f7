/**
 * Names on disk. A partition's folder is `<folder>-<partition>`; in it, as Kafka has it, a segment's files are named by the first
 * offset they may hold, in 20 digits: `.log` the batches, `.index` and `.timeindex` the sparse
 * indexes, `.txnindex` the aborted transactions, `.snapshot` the producers as of that offset. What compaction writes has `.cleaned` behind
 * it until it takes the old one's place.
 * The catalog says which folder is which topic's; the names are for people.
 */
import { createHash } from "node:crypto";

const legalTopicName = /^[a-zA-Z0-9._-]{1,249}$/;
const segmentFile = /^(\d{20})\.log$/;
const abortedIndexFile = /^(\d{20})\.txnindex$/;
const snapshotFile = /^(\d{20})\.snapshot$/;
const DELETED_SUFFIX = ".deleted";

/** The topic's name when that is a legal Kafka name and no other folder's but for case; else an id. */
export function folderFor(topic: string, taken: ReadonlySet<string>): string {
  const legal = legalTopicName.test(topic) && topic !== "." && topic !== "..";
  if (legal && !taken.has(topic.toLowerCase())) return topic;
  return `~${createHash("sha256").update(topic).digest("hex").slice(0, 32)}`;
}

export const partitionFolder = (folder: string, partition: number): string => `${folder}-${partition}`;

/** No partition's folder ends like this: theirs end in digits. */
export const deletedFolder = (number: number): string => `~${number}${DELETED_SUFFIX}`;
export const isDeletedFolder = (name: string): boolean => name.startsWith("~") && name.endsWith(DELETED_SUFFIX);

const digits = (offset: number): string => String(offset).padStart(20, "0");
export const logFileName = (baseOffset: number): string => `${digits(baseOffset)}.log`;
export const indexFileName = (baseOffset: number): string => `${digits(baseOffset)}.index`;
export const timeIndexFileName = (baseOffset: number): string => `${digits(baseOffset)}.timeindex`;
export const abortedIndexFileName = (baseOffset: number): string => `${digits(baseOffset)}.txnindex`;
export const snapshotFileName = (offset: number): string => `${digits(offset)}.snapshot`;

/** Behind the names of a segment's files. */
export const CLEANED_SUFFIX = ".cleaned";
export const isCleanedFile = (name: string): boolean => name.endsWith(CLEANED_SUFFIX);

/** Ascending. */
export const baseOffsetsOf = (names: readonly string[]): number[] => offsetsOf(names, segmentFile);
export const abortedIndexesOf = (names: readonly string[]): number[] => offsetsOf(names, abortedIndexFile);
export const snapshotOffsetsOf = (names: readonly string[]): number[] => offsetsOf(names, snapshotFile);

function offsetsOf(names: readonly string[], pattern: RegExp): number[] {
  const offsets: number[] = [];
  for (const name of names) {
    const match = pattern.exec(name);
    if (match !== null) offsets.push(Number(match[1]));
  }
  return offsets.sort((a, b) => a - b);
}
