import { readFile } from "node:fs/promises";
import { expect, test } from "vitest";
import { mutants } from "./mutants.ts";

test.each(mutants)("the simulation breaks what is there, once: $name", async ({ file, from }) => {
  expect((await readFile(file, "utf8")).split(from).length - 1).toBe(1);
});
