import { codeOf, unexpected, type World } from "./world.ts";

const ofTheDisk = new Set([
  "JOURNAL_FULL",
  "JOURNAL_FAILED",
  "LOG_FAILED",
  "TOPIC_NOT_MADE",
  "LOG_DISK_FULL",
  "LOG_NOT_OPENED",
  "KEYED_STORE_FAILED",
  "KEYED_STORE_UNAVAILABLE",
  "JOURNAL_CORRUPT",
  "EIO",
  "EMFILE",
  "ENOSPC",
]);

/** What is asked of a queue, and of the topics beside it, may fail with the disk only. */
export function demandOfTheDisk(world: World, what: string, error: unknown): void {
  if (!world.troubled || !ofTheDisk.has(codeOf(error))) throw unexpected(what, error);
}

/** The same of what is counted by its first word. */
export function noteDiskFailure(world: World, what: string, error: unknown): void {
  demandOfTheDisk(world, what, error);
  world.note(`${what.split(" ")[0]} fails and says so`);
}
