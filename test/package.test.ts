/** The package as somebody gets it: packed, installed in an empty folder beside rxjs and zod, compiled and run there. */
import { execFile } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

const run = promisify(execFile);
const root = path.resolve(import.meta.dirname, "..");
const folder = fs.mkdtempSync(path.join(os.tmpdir(), "millrace-package-"));
let packed: { filename: string; size: number; unpackedSize: number; files: { path: string; size: number }[] };

const pipeline = `
import { filter } from "rxjs";
import { aggregate, count, keyBy, mean, pipeline, topic, tumbling } from "millrace";
import { parquet } from "millrace/connectors/parquet";
import { z } from "zod";

export const Reading = z.object({ sensor: z.string(), at: z.date(), value: z.number() });
export interface Reading extends z.infer<typeof Reading> {}
export const readings = topic<Reading>("readings", Reading);

export default pipeline("readings-per-minute", ({ source, output, sink }) => {
  const late = output("late", Reading);
  const perMinute = source(readings, { eventTime: (reading) => reading.at, outOfOrderness: "5 s" }).pipe(
    filter((reading) => reading.value >= 0),
    keyBy("sensor"),
    tumbling("1 min", { late }),
    aggregate({ readings: count(), mean: mean((reading) => reading.value) }),
  );
  sink(perMinute, parquet({ to: "out/readings" }));
});
`;

const program = `
import { testPipeline } from "millrace/testing";
import readingsPerMinute, { readings } from "./pipeline.js";

await using t = await testPipeline(readingsPerMinute);
await t.send(readings, [
  { sensor: "a", at: new Date("2001-01-01T00:00:10Z"), value: 1 },
  { sensor: "a", at: new Date("2001-01-01T00:00:20Z"), value: 3 },
  { sensor: "a", at: new Date("2001-01-01T00:00:30Z"), value: -1 },
]);
await t.advanceWatermark("2001-01-01T00:02:00Z");
console.log(JSON.stringify(t.rows("out/readings")));
`;

const compilerOptions = {
  target: "es2022",
  lib: ["es2023", "esnext.disposable"],
  module: "nodenext",
  types: ["node"],
  strict: true,
  exactOptionalPropertyTypes: true,
  noUncheckedIndexedAccess: true,
  skipLibCheck: false,
  outDir: "out-js",
};

const tsc = path.join(root, "node_modules/typescript/bin/tsc");
const inFolder = (command: string, ...args: string[]) => run(command, args, { cwd: folder, encoding: "utf8" });

beforeAll(async () => {
  const { stdout } = await run("npm", ["pack", "--json", "--ignore-scripts", "--pack-destination", folder], {
    cwd: root,
    encoding: "utf8",
  });
  packed = (JSON.parse(stdout) as (typeof packed)[])[0] as typeof packed;
  fs.writeFileSync(path.join(folder, "package.json"), JSON.stringify({ name: "somebody", private: true, type: "module" }));
  fs.writeFileSync(path.join(folder, "pipeline.ts"), pipeline);
  fs.writeFileSync(path.join(folder, "program.ts"), program);
  fs.writeFileSync(path.join(folder, "tsconfig.json"), JSON.stringify({ compilerOptions, files: ["pipeline.ts", "program.ts"] }));
  const ours = JSON.parse(fs.readFileSync(path.join(root, "package.json"), "utf8")) as Record<string, Record<string, string>>;
  const wanted = ["rxjs", "zod", "@types/node"].map((name) => `${name}@${ours.devDependencies?.[name] ?? ours.dependencies?.[name]}`);
  const quiet = ["--ignore-scripts", "--prefer-offline", "--no-audit", "--no-fund", "--fetch-retries=5"];
  await inFolder("npm", "install", ...quiet, `./${packed.filename}`, ...wanted);
}, 400_000);

afterAll(() => fs.rmSync(folder, { recursive: true, force: true }));

describe("the tarball", () => {
  test("holds the platform, the connectors, the pipelines and what a reader needs, and nothing of the workshop", () => {
    const files = packed.files.map((file) => file.path);
    for (const wanted of [
      "package.json",
      "LICENSE",
      "README.md",
      "CHANGELOG.md",
      "dist/src/index.js",
      "dist/src/index.d.ts",
      "dist/src/millrace.cjs",
    ]) {
      expect(files).toContain(wanted);
    }
    const folders = new Set(files.map((file) => file.split("/").slice(0, 2).join("/")).filter((name) => name.includes("/")));
    for (const name of folders)
      expect(["dist/src", "dist/connectors", "pipelines", "docs"].some((allowed) => name.startsWith(allowed))).toBe(true);
    expect(files.filter((file) => /test\/|\.test\.|demo|bench|tsbuildinfo|\.map$/.test(file))).toEqual([]);
  });

  test("is small", () => {
    expect(packed.size).toBeLessThan(1_000_000);
    expect(packed.unpackedSize).toBeLessThan(4_000_000);
  });

  test("no file of it speaks of a source map that is not there", () => {
    const installed = path.join(folder, "node_modules/millrace");
    const speaking = packed.files
      .filter((file) => file.path.endsWith(".js"))
      .filter((file) => fs.readFileSync(path.join(installed, file.path), "utf8").includes("sourceMappingURL="));
    expect(speaking.map((file) => file.path)).toEqual([]);
  });
});

describe("installed in an empty folder beside rxjs and zod", () => {
  test("a pipeline compiles strictly against the public exports, and runs with the test kit", async () => {
    await inFolder(process.execPath, tsc, "-p", "tsconfig.json");
    const { stdout } = await inFolder(process.execPath, "out-js/program.js");
    expect(JSON.parse(stdout)).toEqual([
      { sensor: "a", windowStart: "2001-01-01T00:00:00.000Z", windowEnd: "2001-01-01T00:01:00.000Z", readings: 2, mean: 2 },
    ]);
  });

  test("what does not fit does not compile", async () => {
    fs.writeFileSync(path.join(folder, "wrong.ts"), pipeline.replace('keyBy("sensor")', 'keyBy("sensr")'));
    fs.writeFileSync(path.join(folder, "tsconfig.wrong.json"), JSON.stringify({ compilerOptions, files: ["wrong.ts"] }));
    await expect(inFolder(process.execPath, tsc, "-p", "tsconfig.wrong.json", "--noEmit")).rejects.toMatchObject({
      stdout: expect.stringContaining("sensr") as string,
    });
  });

  test("what is not public cannot be imported", async () => {
    const inside = 'await import("millrace/dist/src/broker/broker.js")';
    await expect(inFolder(process.execPath, "--input-type=module", "-e", inside)).rejects.toThrow(/ERR_PACKAGE_PATH_NOT_EXPORTED/);
  });

  test("the command is there", async () => {
    const bin = path.join(folder, "node_modules/.bin/millrace");
    expect((await inFolder(bin, "--version")).stdout.trim()).toBe(
      (JSON.parse(fs.readFileSync(path.join(root, "package.json"), "utf8")) as { version: string }).version,
    );
    expect((await inFolder(bin, "check", "pipeline.ts")).stdout).toContain("ok  pipeline       readings-per-minute");
  });
});
