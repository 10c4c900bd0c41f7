import { isDeepStrictEqual } from "node:util";
import { MillraceError } from "../../base/errors.ts";
import type { Json } from "../../log/contract/keyedStore.ts";
import type { Fingerprint } from "../engine/node.ts";

/**
 * Does what a checkpoint says of a stateful part fit the part of now? Throws CHECKPOINT_INCOMPATIBLE with the difference. Results that
 * are only in the new one are fine: they start empty; their names are returned.
 */
export function newResults(pipeline: string, id: string, before: Fingerprint, now: Fingerprint): string[] {
  const { results: resultsBefore = {}, ...restBefore } = before;
  const { results: resultsNow = {}, ...restNow } = now;
  const differences = differencesBetween(restBefore, restNow);
  const old = resultsBefore as { readonly [name: string]: Json };
  const young = resultsNow as { readonly [name: string]: Json };
  for (const [name, result] of Object.entries(old)) {
    if (young[name] !== result) differences.push(`result '${name}' was ${show(result)} and is ${show(young[name])}`);
  }
  if (differences.length > 0) throw incompatible(pipeline, `'${id}' is another than in the checkpoint: ${differences.join("; ")}`);
  return Object.keys(young).filter((name) => old[name] === undefined);
}

export function incompatible(pipeline: string, what: string): MillraceError {
  return new MillraceError("CHECKPOINT_INCOMPATIBLE", `${what}.`, {
    domain: "user",
    where: `pipeline ${pipeline}`,
    hint: "Undo the change, give the changed part another { id }, or rename the pipeline: under another name it starts anew.",
  });
}

function differencesBetween(before: Fingerprint, now: Fingerprint): string[] {
  const parts = new Set([...Object.keys(before), ...Object.keys(now)]);
  return [...parts]
    .filter((part) => !isDeepStrictEqual(before[part], now[part]))
    .map((part) => `${part} was ${show(before[part])} and is ${show(now[part])}`);
}

const show = (value: Json | undefined): string => (value === undefined ? "absent" : JSON.stringify(value));
