import type { Random } from "../../src/base/random.ts";
import type { SyncPolicy } from "../../src/log/contract/partitionedLog.ts";
import type { Moment } from "./partitionModel.ts";
import type { SimulatedNode } from "./simulatedNode.ts";
import { Violation } from "./violation.ts";

/** After so many turns without an end something hangs. */
export const endTurnsMax = 20_000;

/** What the operations see of the simulation: the running process, and time that passes in turns of the loop. */
export interface World {
  readonly random: Random;
  readonly node: SimulatedNode;
  /** Another number after each end of a process: what settles later belongs to a dead one. */
  readonly life: number;
  /** Faults that make errors legitimate were met in this life. */
  readonly troubled: boolean;
  now(): Moment;
  turns(count: number): Promise<void>;
  /** In steps: timers come one after the other, and what they begin has turns to run in. */
  pass(ms: number, steps?: number): Promise<void>;
  /** Waits for a while, or for so many turns; undefined if it is still under way then. */
  until<T>(promise: Promise<T>, turnsMax?: number): Promise<Settled<T> | undefined>;
  note(what: string): void;
  /** For whoever looks why a seed fails. */
  trace(line: () => string): void;
  /** What was found where no caller would see it. */
  report(violation: unknown): void;
  /** A name that was never given before. */
  nextId(): number;
}

export type Settled<T> =
  | { readonly value: T; readonly error?: undefined }
  | { readonly value?: undefined; readonly error: NonNullable<unknown> };

export const codeOf = (error: unknown): string => {
  if (error === undefined) return "no error";
  const { code } = error as { code?: unknown };
  return typeof code === "string" ? code : String(error);
};

export interface Operation {
  readonly name: string;
  readonly weight: number;
  run(): Promise<void> | void;
}

/** What was confirmed and not synced may be taken back: readers see that before anybody is told (see EmbeddedTopic.onCut). */
export const mayGoBack = (world: World, sync: SyncPolicy): boolean => world.troubled && sync.kind !== "always";

/** An error that nothing explains is the simulation's to report. */
export function unexpected(what: string, error: unknown): Violation {
  if (error instanceof Violation) return error;
  const text = error instanceof Error ? `${error.stack ?? error.message}\n  because ${String(error.cause)}` : String(error);
  return new Violation(`${what}: ${codeOf(error)}: ${text}`);
}
