/**
 * What an aggregate keeps: windows, in each its keys, for each key one state an aggregate. As JSON, in firing order:
 * [[start, end, [[keyValues, [state, ...]], ...]], ...], states in the order of the names that are kept beside them.
 */

import type { Json } from "../../log/contract/keyedStore.ts";
import { packState, unpackState } from "../checkpoint/stateJson.ts";
import type { KeyId } from "../engine/context.ts";
import type { KeyValue } from "./types.ts";

export interface KeyState {
  readonly keyId: KeyId;
  readonly keyValues: readonly KeyValue[];
  readonly states: unknown[];
}

export interface OpenWindow {
  readonly start: number;
  readonly end: number;
  readonly keys: Map<KeyId, KeyState>;
}

type WindowJson = readonly [start: number, end: number, keys: readonly (readonly [keyValues: Json, states: readonly Json[]])[]];

export class WindowState {
  private readonly windows = new Map<number, OpenWindow>();
  /** The window of the last record: most records follow one of the same window. */
  private last: OpenWindow | undefined;

  /** The least end of an open window. */
  nextEnd = Number.POSITIVE_INFINITY;

  window(start: number, end: number): OpenWindow {
    if (this.last !== undefined && this.last.start === start) return this.last;
    let window = this.windows.get(start);
    if (window === undefined) {
      window = { start, end, keys: new Map() };
      this.windows.set(start, window);
      if (end < this.nextEnd) this.nextEnd = end;
    }
    this.last = window;
    return window;
  }

  /** Removes and returns the windows that end at or before `time`, the earliest first. */
  take(time: number): OpenWindow[] {
    const ended = this.ordered().filter((window) => window.end <= time);
    for (const window of ended) this.windows.delete(window.start);
    this.last = undefined;
    this.nextEnd = Math.min(...[...this.windows.values()].map((window) => window.end)); // of none: Infinity
    return ended;
  }

  snapshot(): Json {
    return this.ordered().map(({ start, end, keys }) => [
      start,
      end,
      [...keys.values()].map(({ keyValues, states }) => [packState(keyValues), states.map(packState)]),
    ]);
  }

  /** `arrange` brings one key's states into the order of the aggregates of now. */
  restore(json: Json, keyIdOf: (values: readonly KeyValue[]) => KeyId, arrange: (states: unknown[]) => unknown[]): void {
    for (const [start, end, keys] of json as readonly WindowJson[]) {
      const window = this.window(start, end);
      for (const [values, states] of keys) {
        const keyValues = unpackState(values) as readonly KeyValue[];
        const keyId = keyIdOf(keyValues);
        window.keys.set(keyId, { keyId, keyValues, states: arrange(states.map(unpackState)) });
      }
    }
  }

  private ordered(): OpenWindow[] {
    return [...this.windows.values()].sort((one, other) => one.start - other.start);
  }
}

/** By key, so that rows come in one order whatever the order of the records was. */
export function inKeyOrder(window: OpenWindow): KeyState[] {
  return [...window.keys.values()].sort((one, other) => (one.keyId < other.keyId ? -1 : one.keyId > other.keyId ? 1 : 0));
}
