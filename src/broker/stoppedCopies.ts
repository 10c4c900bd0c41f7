import type { StoppedCopies } from "../log/contract/queueJournal.ts";
import type { Copy } from "./copy.ts";
import type { ReadyMessages } from "./readyMessages.ts";
import type { UnackedCopies } from "./unackedCopies.ts";

/** They are in memory for a moment, 100 bytes each. */
const toldCopiesMax = 1_000_000;

export const noCopies: StoppedCopies = { offsets: new Float64Array(), positions: new Float64Array(), bytes: new Uint32Array() };

/** What of a queue outlives a clean stop, but for what is in segments: that is found there. */
export function copiesToTell(ready: ReadyMessages, unacked: UnackedCopies): StoppedCopies {
  const isTold = ({ durable, position }: Copy): boolean => durable && position >= 0;
  const held = unacked.all.filter(isTold);
  const told = held.concat([...ready].filter(isTold));
  if (held.length > 0) told.sort((a, b) => a.offset - b.offset);
  return {
    offsets: Float64Array.from(told, ({ offset }) => offset),
    positions: Float64Array.from(told, ({ position }) => position),
    bytes: Uint32Array.from(told, ({ bytes }) => bytes),
  };
}

export function areFewToTell(ready: ReadyMessages): boolean {
  let copies = ready.length;
  for (const { count } of ready.runParts()) copies -= count;
  return copies <= toldCopiesMax;
}
