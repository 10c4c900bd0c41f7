import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";

const root = fileURLToPath(new URL("../..", import.meta.url));

/** The compiler's messages, each with all its lines, by "file:line". */
const messages = new Promise<Map<string, string>>((resolve, reject) => {
  execFile(
    process.execPath,
    ["node_modules/typescript/bin/tsc", "-p", "test/types/tsconfig.json", "--pretty", "false"],
    { cwd: root },
    (error, output) => {
      if (error !== null && output === "") return reject(error);
      const found = new Map<string, string>();
      let at = "";
      for (const line of output.split("\n")) {
        const start = /^(\S+)\((\d+),\d+\): error/.exec(line);
        if (start !== null) at = `${start[1]}:${start[2]}`;
        found.set(at, `${found.get(at) ?? ""}${line}\n`);
      }
      resolve(found);
    },
  );
});

const bad = (await readFile(`${root}/test/types/bad.ts`, "utf8")).split("\n");
const mistakes = bad.flatMap((line, index) => {
  const says = /^\s*\/\/ says: (.*)$/.exec(line)?.[1];
  if (says === undefined) return [];
  const length = bad.slice(index + 1).findIndex((later) => /^ {2}(\/\/ says: |\S.*;$|\}\);$)/.test(later));
  return [{ says, from: index + 2, to: index + 2 + length, code: (bad[index + 1] as string).trim() }];
});

const lineOf = (at: string): number => Number(at.split(":")[1]);
const isBetween = (line: number, from: number, to: number): boolean => line >= from && line <= to;

describe("the compiler", () => {
  test("takes what is good", async () => {
    const others = [...(await messages)].filter(([at]) => !at.startsWith("test/types/bad.ts:"));
    expect(others).toEqual([]);
  });

  test.each(mistakes)("refuses $code (line $from)", async ({ says, from, to }) => {
    const [, message = "it compiles"] =
      [...(await messages)].find(([at]) => at.startsWith("test/types/bad.ts:") && isBetween(lineOf(at), from, to)) ?? [];
    expect(message.trimEnd().split("\n").at(-1)).toContain(says);
  });

  test("refuses nothing else", async () => {
    const lines = [...(await messages).keys()].filter((at) => at.startsWith("test/types/bad.ts:")).map(lineOf);
    expect(lines.filter((line) => !mistakes.some(({ from, to }) => isBetween(line, from, to)))).toEqual([]);
  });
});
