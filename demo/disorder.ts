/** How far out of order the flights are published: as far as the pipeline bears, and a few far beyond. */
import { outOfOrderness } from "../pipelines/hourly-delays.ts";
import { durationMs } from "../src/stream/time.ts";

const HOUR_MS = 3_600_000;
const MARGIN_MS = HOUR_MS / 12;

export const disorder = {
  /** The oldest unconfirmed flight trails the newest by less, also when it is published again after a kill. */
  disorderMs: durationMs(outOfOrderness, "outOfOrderness") - MARGIN_MS,
  heldBackOneIn: 1_000,
  heldBackMs: 24 * HOUR_MS,
} as const;
