/** What a node under load tells whoever kills it: a line of JSON each, written before it goes on. */

/** What a start found. */
export interface Found {
  readonly kind: "found";
  /** By "topic/partition": the offsets that can be read. Their content was looked at already. */
  readonly partitions: Readonly<Record<string, { readonly start: number; readonly end: number }>>;
  /** By name: the numbers of the messages that are in it, in order. */
  readonly queues: Readonly<Record<string, readonly number[]>>;
  readonly journal: { readonly segments: number; readonly lastFile: number };
}

export type Said =
  | Found
  /** The directory is another process's. */
  | { readonly kind: "refused"; readonly code: string; readonly message: string }
  /** Something is not as it should be. */
  | { readonly kind: "wrong"; readonly what: string }
  /** All offsets below this may be read. */
  | { readonly kind: "appended"; readonly partition: string; readonly end: number }
  /** These messages are confirmed. */
  | { readonly kind: "confirmed"; readonly queue: string; readonly numbers: readonly number[] }
  /** These will be acknowledged next: they may be gone. */
  | { readonly kind: "acknowledging"; readonly queue: string; readonly numbers: readonly number[] }
  /** The acknowledgements of these are durable. */
  | { readonly kind: "acknowledged"; readonly queue: string; readonly numbers: readonly number[] }
  /** The broker recognised so many messages since its start. */
  | { readonly kind: "recognised"; readonly count: number };

/** The queues that a message of the fanout exchange goes to; each knows a message that is published again. */
export const fanoutQueues = ["work", "slow", "audit"] as const;
/** What is published here is not published again. */
export const plainQueue = "plain";

/** The content of a message, and of the record at an offset. */
export const contentOf = (number: number): Buffer => Buffer.alloc(20 + ((number * 7919) % 400), `${number}.`);
export const numberIn = (content: Buffer): number => Number(content.toString("latin1", 0, content.indexOf(".")));
