/** The command line as a person or a script meets it. */
import { once } from "node:events";
import fs from "node:fs";
import path from "node:path";
import type { Readable } from "node:stream";
import { describe, expect, test } from "vitest";
import { openEmbeddedLog } from "../../src/log/embedded/embeddedLog.ts";
import { logOptions, record } from "../log/support.ts";
import { counting, writePipeline } from "../server/fixtures.ts";
import { cleanUp, millrace, temporaryFolder } from "../server/support.ts";

const run = (folder: string, args: readonly string[], environment?: NodeJS.ProcessEnv) => millrace(args, folder, environment).ended;

describe("usage", () => {
  test.each([
    [["--help"], 0, /Usage: millrace/],
    [["start", "--help"], 0, /--config <file>/],
  ])("%j prints to stdout", async (args, code, text) => {
    const result = await run(temporaryFolder(), args);
    expect(result).toMatchObject({ code, err: "" });
    expect(result.out).toMatch(text);
  });

  test.each([
    [["strat"], /unknown command 'strat'[^]*Did you mean start/],
    [["stop", "--drian"], /unknown option '--drian'[^]*Did you mean --drain/],
    [["start", "surplus"], /too many arguments/],
    [["tail", "t", "--offset", "-1"], /It must be a whole number/],
    [["tail", "t", "--from-beginning", "--timestamp", "2001-01-01"], /cannot be used with/],
  ])("%j is refused with 2", async (args, text) => {
    const result = await run(temporaryFolder(), args);
    expect(result).toMatchObject({ code: 2, out: "" });
    expect(result.err).toMatch(text);
  });
});

describe("a wrong configuration", () => {
  test("start ends with 1 and says what, where and what to do; nothing is made", async () => {
    const folder = temporaryFolder();
    fs.writeFileSync(path.join(folder, "millrace.yaml"), "data: ./data\nlistners: {}\n");
    const result = await run(folder, ["start"]);
    expect(result.code).toBe(1);
    expect(result.err).toContain("CONFIG_UNKNOWN_KEY: unknown key 'listners'; did you mean 'listeners'?");
    expect(result.err).toContain("at millrace.yaml:2:1");
    expect(fs.readdirSync(folder)).toEqual(["millrace.yaml"]);
  });

  test("a file that is not there", async () => {
    const result = await run(temporaryFolder(), ["start", "--config", "nowhere.yaml"]);
    expect(result).toMatchObject({ code: 1, err: expect.stringMatching(/CONFIG_UNREADABLE[^]*at nowhere.yaml/) as string });
  });

  test("an unknown flag with a dot, and an unknown variable", async () => {
    const flag = await run(temporaryFolder(), ["start", "--log.segment-byte", "1"]);
    expect(flag).toMatchObject({ code: 1, err: expect.stringContaining("did you mean '--log.segment-bytes'?") as string });
    const variable = await run(temporaryFolder(), ["start"], { MILLRACE_DTA: "x" });
    expect(variable).toMatchObject({ code: 1, err: expect.stringContaining("did you mean 'MILLRACE_DATA'?") as string });
  });
});

describe("check", () => {
  test("of a good configuration and its pipelines", async () => {
    const folder = temporaryFolder();
    writePipeline(folder, "counting.ts", counting("counting"));
    fs.writeFileSync(path.join(folder, "millrace.yaml"), "pipelines: [counting.ts]\n");
    const result = await run(folder, ["check"]);
    expect(result).toMatchObject({ code: 0, err: "" });
    expect(result.out).toMatch(/ok {2}configuration {2}millrace\.yaml\n[^]*ok {2}pipeline +counting/);
  });

  test("says everything that is wrong, each with its place", async () => {
    const folder = temporaryFolder();
    writePipeline(folder, "syntax.ts", 'import { pipeline } from "millrace";\n\nexport default pipeline("x", () => {);\n');
    writePipeline(folder, "missing.ts", 'import { a } from "a-package-that-is-not-there";\nexport default a;\n');
    writePipeline(folder, "throws.ts", "const settings: { name: string } | undefined = undefined;\n\nexport default settings!.name;\n");
    writePipeline(folder, "none.ts", "export const pipeline = 3;\n");
    fs.writeFileSync(path.join(folder, "millrace.yaml"), "log: { segment-bytes: many }\n");
    const files = ["millrace.yaml", "syntax.ts", "missing.ts", "throws.ts", "none.ts", "gone.ts"];
    const result = await run(folder, ["check", ...files]);
    expect(result).toMatchObject({ code: 1, out: "" });
    expect(result.err).toContain("at millrace.yaml:1:23");
    expect(result.err).toContain("syntax.ts:3:37");
    expect(result.err).toMatch(/Could not resolve "a-package-that-is-not-there"[^]*missing\.ts:1:19/);
    expect(result.err).toMatch(/throws\.ts:3:\d+/);
    expect(result.err).toMatch(/default export is missing[^]*none\.ts/);
    expect(result.err).toMatch(/gone\.ts/);
    expect(fs.readdirSync(folder).sort()).toEqual([...files].filter((name) => name !== "gone.ts").sort());
  });

  test("builds what the pipelines describe, without running them", async () => {
    const folder = temporaryFolder();
    const good = counting("one");
    writePipeline(folder, "duration.ts", good.replace("1 min", "1 minuet"));
    writePipeline(folder, "empty.ts", good.replaceAll("  sink(", "  void ("));
    writePipeline(folder, "typo.ts", good.replace("import { parquet }", "import { parkett as parquet }"));
    writePipeline(folder, "name.ts", counting("a name"));
    const result = await run(folder, ["check", "duration.ts", "empty.ts", "typo.ts", "name.ts"]);
    expect(result).toMatchObject({ code: 1, out: "" });
    expect(result.err).toMatch(/DURATION_INVALID[^]*at .*duration\.ts:13:\d+/);
    expect(result.err).toMatch(/PIPELINE_EMPTY[^]*at .*empty\.ts/);
    expect(result.err).toMatch(/PIPELINE_INVALID[^]*at .*typo\.ts\n[^]*'parkett'/);
    expect(result.err).toMatch(/NAME_INVALID[^]*at .*name\.ts:10:/);
    expect(result.err).not.toMatch(/^ {4}at /m);
  });

  test("a key that the events do not have is refused, with the nearest name", async () => {
    const folder = temporaryFolder();
    writePipeline(
      folder,
      "key.ts",
      counting("key").replace('keyBy("sensor")', 'keyBy("sensr")').replace(".pipe(map((reading) => reading))", ""),
    );
    const result = await run(folder, ["check", "key.ts"]);
    expect(result).toMatchObject({ code: 1, out: "" });
    expect(result.err).toMatch(/KEY_UNKNOWN: keyBy\("sensr"\): .*did you mean "sensor"\?\n {2}at .*key\.ts:13:/);
  });

  test("two pipelines of one name are refused, without a stack", async () => {
    const folder = temporaryFolder();
    writePipeline(folder, "one.ts", counting("same"));
    writePipeline(folder, "two.ts", counting("same"));
    const result = await run(folder, ["check", "one.ts", "two.ts"]);
    expect(result.code).toBe(1);
    expect(result.err).toMatch(/^PIPELINE_NAME_TAKEN: .*\n {2}at .*two\.ts\n/);
    expect(result.err).not.toMatch(/^ {4}at /m);
  });

  test("another copy of the engine cannot slip in: millrace is the running one", async () => {
    const folder = temporaryFolder();
    fs.mkdirSync(path.join(folder, "node_modules/millrace"), { recursive: true });
    fs.writeFileSync(path.join(folder, "node_modules/millrace/package.json"), '{"name":"millrace","main":"index.js"}');
    fs.writeFileSync(path.join(folder, "node_modules/millrace/index.js"), "throw new Error('the other copy')");
    writePipeline(folder, "counting.ts", counting("counting"));
    expect(await run(folder, ["check", "counting.ts"])).toMatchObject({ code: 0, err: "" });
  });
});

test("status of something that is no data directory says so, without a stack", async () => {
  const folder = temporaryFolder();
  fs.writeFileSync(path.join(folder, "data"), "");
  const result = await run(folder, ["status", "--data", "data"]);
  expect(result).toMatchObject({ code: 1, out: "" });
  expect(result.err).toMatch(/^DATA_UNREADABLE: .*\n {2}at .*data\n/);
  expect(result.err).not.toMatch(/^ {4}at /m);
});

describe("log", () => {
  test.each(["dump", "verify", "repair"])("%s of what is no data directory says so, and leaves nothing there", async (command) => {
    const folder = temporaryFolder();
    for (const directory of [".", "nowhere"]) {
      const result = await run(folder, ["log", command, directory]);
      expect(result).toMatchObject({ code: 1, out: "" });
      expect(result.err).toMatch(/^DATA_UNREADABLE: there are no topics here\n {2}at .*\n {2}Name a node's data directory/);
      expect(result.err).not.toMatch(/^ {4}at /m);
    }
    expect(fs.readdirSync(folder)).toEqual([]);
  });

  test("verify of a file that is no directory", async () => {
    const folder = temporaryFolder();
    fs.writeFileSync(path.join(folder, "file"), "");
    expect(await run(folder, ["log", "verify", "file"])).toMatchObject({
      code: 1,
      err: expect.stringMatching(/^DATA_UNREADABLE/) as string,
    });
  });
});

test("tail --follow ends when nobody reads it any more", async () => {
  const folder = temporaryFolder();
  const log = await openEmbeddedLog(logOptions(path.join(folder, "data/topics")));
  cleanUp(() => log.close());
  await log.createTopic("t");
  const append = (sequence: number) => log.append({ name: "p", epoch: 0 }, "t", 0, sequence, [record("value")]);
  await append(0);
  const tail = millrace(["tail", "t", "--data", "data", "--follow"], folder);
  await once(tail.child.stdout as Readable, "data");
  tail.child.stdout?.destroy();
  await append(1); // what it prints now goes nowhere
  expect(await tail.ended).toMatchObject({ code: 0, err: "" });
});
