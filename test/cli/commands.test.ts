/** The command line as a person or a script meets it. */
import { once } from "node:events";
import fs from "node:fs";
import path from "node:path";
import type { Readable } from "node:stream";
import { describe, expect, test } from "vitest";
import { systemClock } from "../../src/base/clock.ts";
import { silentLogger } from "../../src/base/logger.ts";
import { nodeFileSystem } from "../../src/base/nodeFileSystem.ts";
import { openEmbeddedLog } from "../../src/log/embedded/embeddedLog.ts";
import { openKeyedStore } from "../../src/log/keyedStore.ts";
import { batchPositions } from "../../src/record/batch.ts";
import { BatchField } from "../../src/record/batchHeader.ts";
import { logOptions, record } from "../log/support.ts";
import { channelTo } from "../server/amqp.ts";
import { counting, writePipeline } from "../server/fixtures.ts";
import { cleanUp, millrace, startNode, statusOf, temporaryFolder } from "../server/support.ts";

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

  test("verify looks into topics, journal, catalog and topology, tells damage from a torn end, and beside a node finds neither", async () => {
    const folder = temporaryFolder();
    const node = await startNode(folder);
    const channel = await channelTo((await statusOf(folder)).addresses.amqp);
    await channel.assertQueue("t", { durable: true, arguments: { "x-queue-type": "stream" } });
    await channel.assertQueue("q", { durable: true });
    for (let n = 0; n < 5; n++) {
      for (const queue of ["t", "q"]) channel.sendToQueue(queue, Buffer.from(`message ${n}`), { persistent: true });
      await channel.waitForConfirms();
    }
    const whole = await run(folder, ["log", "verify", "data"]);
    expect(whole).toMatchObject({ code: 0, err: "" });
    expect(whole.out).toMatch(
      /^topics: 1 partitions, 1 segments, 5 batches, \d+ bytes\njournal: \d files, 0 segments, 1\d entries, .*\ncatalog: 2 entries; topology: \d entries; checkpoints: 0\nno damage\n$/,
    );
    node.child.kill("SIGKILL");
    await node.ended;
    const journal = path.join(folder, "data/journal/000000000001.journal");
    const bytes = fs.readFileSync(journal);
    const flipped = (text: string): void => {
      const at = bytes.indexOf(text);
      bytes[at] = (bytes[at] as number) ^ 1;
      fs.writeFileSync(journal, bytes);
    };
    flipped("message 4");
    const torn = await run(folder, ["log", "verify", "data"]);
    expect(torn).toMatchObject({ code: 0, err: "" });
    expect(torn.out).toMatch(
      /^tail: .*000000000001\.journal at byte \d+: the last write was not finished.*; or it is damaged\n[^]*\nno damage that is certain; 1 torn, or damaged if it was confirmed: a start cuts it\n$/,
    );
    flipped("message 1");
    const damaged = await run(folder, ["log", "verify", "data"]);
    expect(damaged.code).toBe(1);
    expect(damaged.out).toMatch(/^entry: .*000000000001\.journal at byte \d+: an entry of the journal is damaged/);
    expect(damaged.out).toMatch(/\n1 damaged; 1 torn, or damaged if it was confirmed: a start cuts it\n$/);
    expect(damaged.err).toContain("docs/durability.md");
  });

  test("repair is refused beside a node; of a directory that a newer release wrote nothing is read, and nothing changed", async () => {
    const folder = temporaryFolder();
    const node = await startNode(folder);
    const channel = await channelTo((await statusOf(folder)).addresses.amqp);
    await channel.assertQueue("t", { durable: true, arguments: { "x-queue-type": "stream" } });
    channel.sendToQueue("t", Buffer.from("a message"), { persistent: true });
    await channel.waitForConfirms();
    expect(await run(folder, ["log", "repair", "data"])).toMatchObject({
      code: 1,
      out: "",
      err: expect.stringMatching(new RegExp(`^DATA_DIRECTORY_LOCKED: .* process ${node.child.pid}`)) as string,
    });
    node.child.kill("SIGKILL");
    await node.ended;
    fs.writeFileSync(path.join(folder, "data/version"), "millrace-data 99\n");
    const segment = path.join(folder, "data/topics/t-0/00000000000000000000.log");
    fs.truncateSync(segment, fs.statSync(segment).size - 1); // what a repair would cut
    const contents = () =>
      (fs.readdirSync(path.join(folder, "data"), { recursive: true }) as string[]).toSorted().map((name) => {
        const file = path.join(folder, "data", name);
        return [name, fs.statSync(file).isFile() ? fs.readFileSync(file).toString("base64") : ""];
      });
    const before = contents();
    const commands = [
      ["log", "repair", "data"],
      ["log", "repair", "--cut-damage", "data"],
      ...["verify", "dump"].flatMap((command) => ["data", "data/topics", "data/topics/t-0"].map((where) => ["log", command, where])),
      ["log", "verify", "data/journal"],
      ["tail", "t", "--data", "data"],
    ];
    for (const command of commands) {
      const result = await run(folder, command);
      expect(result, command.join(" ")).toMatchObject({
        code: 1,
        out: "",
        err: expect.stringMatching(/^DATA_TOO_NEW: .* the format 99/) as string,
      });
    }
    expect(contents()).toEqual(before);
    fs.writeFileSync(path.join(folder, "data/version"), "millrace-data 1\n");
    expect(await run(folder, ["log", "repair", "data"])).toMatchObject({
      code: 0,
      out: expect.stringMatching(/^cut .*\.log at byte 0\n$/) as string,
    });
  });

  test("of the catalog and the topology repair makes a damaged file anew from the other one, and says which", async () => {
    const folder = temporaryFolder();
    for (const name of ["topics", "journal"]) fs.mkdirSync(path.join(folder, "data", name), { recursive: true });
    const surroundings = { fileSystem: nodeFileSystem, clock: systemClock, logger: silentLogger, formatVersion: 1 };
    for (const name of ["catalog", "topology"]) {
      const store = await openKeyedStore({ ...surroundings, path: path.join(folder, "data", name), name });
      for (let n = 0; n < 3; n++) await store.change(new Map([[`["key", "${n}"]`, n]]));
      await store.close();
    }
    fs.writeFileSync(path.join(folder, "data/version"), "millrace-data 1\n");
    const damaged = ["catalog.twin", "topology"].map((name) => path.join(folder, "data", name));
    for (const file of damaged) {
      const bytes = fs.readFileSync(file);
      bytes.writeUInt8(bytes.readUInt8(40) ^ 1, 40);
      fs.writeFileSync(file, bytes);
    }
    expect(await run(folder, ["log", "verify", "data"])).toMatchObject({ code: 1, out: expect.stringContaining("2 damaged") as string });
    const { code, out } = await run(folder, ["log", "repair", "data"]);
    expect({ code, lines: out.trim().split("\n") }).toEqual({
      code: 0,
      lines: damaged.map((file) => `${file}: a file of a keyed store is damaged; it is made anew from the other one`),
    });
    expect(await run(folder, ["log", "repair", "data"])).toMatchObject({ code: 0, out: "nothing to repair\n" });
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

test("what is damaged in a topic: tail says it beside and goes on; verify does not promise that a bad end was never confirmed", async () => {
  const folder = temporaryFolder();
  const log = await openEmbeddedLog(logOptions(path.join(folder, "running/topics")));
  cleanUp(() => log.close());
  await log.createTopic("t");
  for (let n = 0; n < 20; n++) await log.append({ name: "p", epoch: 0 }, "t", 0, n, [record(`value ${n}`)]);
  fs.cpSync(path.join(folder, "running"), path.join(folder, "data"), { recursive: true }); // as a kill leaves it
  const file = path.join(folder, "data/topics/t-0/00000000000000000000.log");
  const whole = fs.readFileSync(file);
  const positions = [...batchPositions(whole)];
  const damagedAt = (at: number): void => {
    const bytes = Buffer.from(whole);
    bytes[at] = (bytes[at] as number) ^ 64;
    fs.writeFileSync(file, bytes);
  };
  damagedAt((positions[10] as number) + BatchField.length);
  const tailed = await run(folder, ["tail", "t", "--data", "data", "--from-beginning"]);
  const offsets = tailed.out
    .trim()
    .split("\n")
    .map((line) => (JSON.parse(line) as { offset: number }).offset);
  expect([tailed.code, offsets]).toEqual([1, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14, 15, 16, 17, 18, 19]]);
  expect(tailed.err).toMatch(/^LOG_CORRUPT: Offsets 10 to 10 are damaged\.\n {2}at .*\.log at byte \d+\n[^]*It goes on with offset 11\./);
  damagedAt((positions[19] as number) + BatchField.crc);
  const verified = await run(folder, ["log", "verify", "data/topics/t-0"]);
  expect(verified).toMatchObject({ code: 0, err: "" });
  expect(verified.out).toMatch(/^tail: [^]*\nno damage that is certain; 1 torn, or damaged if it was confirmed: a start cuts it\n$/);
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

test("tail --timestamp: a time without a zone is UTC, wherever it runs", async () => {
  const folder = temporaryFolder();
  const log = await openEmbeddedLog(logOptions(path.join(folder, "data/topics")));
  await log.createTopic("t");
  for (let hour = -12; hour <= 12; hour++) {
    const timestamp = Date.UTC(2001, 0, 1, hour);
    await log.append({ name: "p", epoch: 0 }, "t", 0, hour + 12, [record("value", { timestamp })]);
  }
  await log.close();
  const times = ["2001-01-01", "2001-01-01 00:00", "2001-01-01T00:00:00.000", "2001-01-01T02:00:00+02:00", "978307200000"];
  const first = ["tail", "t", "--data", "data", "--count", "1", "--timestamp"];
  const [help, ...results] = await Promise.all([
    run(folder, ["tail", "--help"]),
    ...times.map((time) => run(folder, [...first, time], { TZ: "America/New_York" })),
  ]);
  for (const [n, { out, err }] of results.entries()) expect(`${err}${out}`, times[n]).toContain('"timestamp":"2001-01-01T00:00:00.000Z"');
  expect(help?.out.replaceAll(/\s+/g, " ")).toContain("which is UTC without a zone");
  for (const wrong of ["yesterday", "2001-01-01T00:00:00 CET", "1 January 2001"])
    expect(await run(folder, [...first, wrong])).toMatchObject({ code: 2, err: expect.stringContaining("It must be a date") as string });
});

test("tail and dump show AMQP's properties by their names; --raw shows what is stored", async () => {
  const folder = temporaryFolder();
  await startNode(folder);
  const channel = await channelTo((await statusOf(folder)).addresses.amqp);
  await channel.assertQueue("t", { durable: true, arguments: { "x-queue-type": "stream" } });
  await channel.assertExchange("orders", "topic");
  await channel.bindQueue("t", "orders", "#");
  const when = Date.UTC(2001, 0, 1) / 1000;
  channel.publish("orders", "eu.grün", Buffer.from('{"a":1}'), {
    persistent: true,
    contentType: "application/json",
    contentEncoding: "utf-8",
    messageId: "m-1",
    correlationId: "c",
    replyTo: "r",
    priority: 3,
    timestamp: when,
    type: "order",
    appId: "shop",
    userId: "guest",
    headers: { user: "u", count: 7, list: [1, "two"], bytes: Buffer.from([0xff, 0]), nested: { on: true } },
  });
  channel.publish("orders", "eu.plain", Buffer.from("\u001b[31mred"), { persistent: true });
  await channel.waitForConfirms();
  const common = ["tail", "t", "--data", "data"];
  const [shown, raw, dump] = await Promise.all([
    run(folder, common),
    run(folder, [...common, "--raw"]),
    run(folder, ["log", "dump", "--records", "data"]),
  ]);
  const records = shown.out
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  expect(records).toMatchObject([
    {
      offset: 0,
      key: "eu.grün",
      value: '{"a":1}',
      headers: [],
      amqp: {
        exchange: "orders",
        "routing-key": "eu.grün",
        "content-type": "application/json",
        "content-encoding": "utf-8",
        "delivery-mode": 2,
        priority: 3,
        "correlation-id": "c",
        "reply-to": "r",
        "message-id": "m-1",
        timestamp: "2001-01-01T00:00:00.000Z",
        type: "order",
        "app-id": "shop",
        "user-id": "guest",
        headers: { user: "u", count: 7, list: [1, "two"], bytes: { base64: "/wA=" }, nested: { on: true } },
      },
    },
    { offset: 1, amqp: { exchange: "orders", "routing-key": "eu.plain", headers: {} } },
  ]);
  const stored = raw.out
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as { amqp?: unknown; headers: { key: string; value: { base64: string } }[] });
  expect(stored.map(({ amqp, headers }) => [amqp, headers.map(({ key }) => key)])).toEqual([
    [undefined, ["amqp"]],
    [undefined, ["amqp"]],
  ]);
  expect(dump.out).toMatch(
    /^ {4}0 "eu.grün": "\{\\"a\\":1\}"\n {6}exchange "orders", routing-key "eu.grün", content-type "application\/json", .*message-id "m-1"/m,
  );
  expect(dump.out).not.toContain("\u001b");
});
