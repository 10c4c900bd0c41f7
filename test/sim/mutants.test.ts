import { readFile } from "node:fs/promises";
import { expect, test } from "vitest";
import { mutants } from "./mutants.ts";
import { smallLimits } from "./smallLimits.ts";

test.each(mutants)("the simulation breaks what is there, once: $name", async ({ file, from }) => {
  expect((await readFile(file, "utf8")).split(from).length - 1).toBe(1);
});

test.each(smallLimits)("a limit is there that is smaller in the simulation: $from", async ({ file, from }) => {
  expect((await readFile(file, "utf8")).split(from).length - 1).toBe(1);
});
