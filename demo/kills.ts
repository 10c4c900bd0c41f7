import type { Random } from "../src/base/random.ts";

/** At a random moment, or by the node itself when its pipeline reaches a step for the n-th time since the start. */
export type Kill = { readonly at: "random moment" } | { readonly at: "step"; readonly step: string; readonly occurrence: number };

const step = (name: string, occurrence: number): Kill => ({ at: "step", step: name, occurrence });

/**
 * Between prepare, checkpoint and rename of the sinks, and at moments when messages are unconfirmed and deliveries unacknowledged; in an
 * order that the seed decides. "committing" comes before each file: the second time is between the files of one checkpoint.
 */
export function planKills(random: Random): Kill[] {
  const left: Kill[] = [
    step("prepared", 1),
    step("checkpointed", 1),
    step("committing", 1),
    step("committing", 2),
    step("committed", 1),
    { at: "random moment" },
    { at: "random moment" },
    { at: "random moment" },
  ];
  const kills: Kill[] = [];
  while (left.length > 0) kills.push(...left.splice(random.below(left.length), 1));
  return kills;
}

/** As the node's environment says it. */
export const crashPointOf = (kill: Kill | undefined): string | undefined =>
  kill?.at === "step" ? `${kill.step}:${kill.occurrence}` : undefined;
