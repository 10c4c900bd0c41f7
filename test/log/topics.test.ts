import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { describe, expect, test } from "vitest";
import { nodeFileSystem } from "../../src/base/nodeFileSystem.ts";
import { openEmbeddedLog } from "../../src/log/embedded/embeddedLog.ts";
import { changed } from "../support/changed.ts";
import {
  appendOneByOne,
  code,
  logOptions,
  MemoryCatalog,
  openWithTopic,
  producer,
  readAll,
  readFrom,
  receipt,
  record,
  temporaryFolder,
  valuesOf,
} from "./support.ts";

describe("topics", () => {
  const names = [
    "t",
    "T",
    "..",
    ".",
    "../../etc",
    "a/b",
    "a-1",
    "a",
    "ключ",
    "x".repeat(249),
    "x".repeat(255),
    "😀".repeat(63),
    "con\0trol",
    "~x",
  ];

  test("may have any name, keep apart, and never leave the directory", async () => {
    const outer = await temporaryFolder();
    const options = logOptions(path.join(outer, "inner"));
    let log = await openEmbeddedLog(options);
    for (const name of names) {
      await log.createTopic(name, { partitions: 2 });
      await log.append(producer, name, 1, 0, [record(name)]);
    }
    await log.close();
    expect(await readdir(outer)).toEqual(["inner"]);
    const folders = await readdir(options.directory);
    expect(new Set(folders.map((folder) => folder.toLowerCase())).size).toBe(names.length * 2);
    expect(folders).toContain("t-0");
    expect(folders).toContain("a-1-1");
    log = await openEmbeddedLog(options);
    for (const name of names) {
      const reader = await log.openReader((await log.describeTopic(name))?.partitions[1] as never);
      expect(valuesOf(await readFrom(reader, 0))).toEqual([name]);
      await reader.close();
    }
    await log.close();
  });

  test("with impossible names or numbers are refused", async () => {
    const { log } = await openWithTopic();
    for (const name of ["", "x".repeat(256), "😀".repeat(64)])
      await expect(log.createTopic(name)).rejects.toEqual(code("TOPIC_NAME_INVALID"));
    for (const config of [
      { partitions: 0 },
      { partitions: 1.5 },
      { partitions: 1e6 },
      { segmentBytes: 2 ** 31 },
      { sync: { kind: "interval", ms: 0 } },
    ] as const) {
      await expect(log.createTopic("new", config)).rejects.toEqual(code("TOPIC_CONFIG_INVALID"));
    }
    await log.close();
  });

  test("that are deleted are gone: records, folders, readers and receipts; the name is free again", async () => {
    const { log, topic, options } = await openWithTopic();
    await appendOneByOne(log, ["one"]);
    const reader = await log.openReader(topic.description.partitions[0] as never);
    const sleeping = reader.untilAbove(1, new AbortController().signal);
    const pending = receipt();
    topic.append(0, record("two"), pending.receipt);
    pending.receipt.seal();
    const synced = log.sync("t");
    const deleted = log.deleteTopic("t");
    await expect(synced).rejects.toEqual(code("TOPIC_DELETED"));
    await expect(sleeping).rejects.toEqual(code("TOPIC_DELETED"));
    expect(await pending.settled).toEqual(code("TOPIC_DELETED"));
    await deleted;
    await expect(reader.read(0, 1000)).rejects.toEqual(code("TOPIC_DELETED"));
    expect(() => topic.append(0, record("three"), undefined)).toThrow(expect.objectContaining({ code: "TOPIC_DELETED" }));
    expect(options.budget.used).toBe(0);
    expect(log.topicNames()).toEqual([]);
    expect(await readdir(options.directory)).toEqual([]);
    await expect(log.deleteTopic("t")).rejects.toEqual(code("UNKNOWN_TOPIC"));
    await log.createTopic("t");
    expect(await readAll(log)).toEqual([]);
    await log.close();
  });

  test("that is deleted takes nothing of what gathered, nor behind it what has waited for its files", async () => {
    const { log, topic } = await openWithTopic();
    const waiting = log.append(producer, "t", 0, 0, [record("waits for the files")]);
    const refused = expect(waiting).rejects.toEqual(code("TOPIC_DELETED"));
    const gathered = receipt();
    topic.append(0, record("gathered"), gathered.receipt);
    gathered.receipt.seal();
    await log.deleteTopic("t");
    expect(await gathered.settled).toEqual(code("TOPIC_DELETED"));
    await refused;
    await log.close();
  });

  test("that are asked for while the log is closed are refused, also where nobody had used them", async () => {
    const { log, topic } = await openWithTopic();
    const made = log.createTopic("made");
    const refused = expect(made).rejects.toEqual(code("LOG_CLOSED"));
    await log.close();
    await refused;
    await expect(log.createTopic("later")).rejects.toEqual(code("LOG_CLOSED"));
    expect(() => topic.append(0, record("late"), undefined)).toThrow(expect.objectContaining({ code: "LOG_CLOSED" }));
    expect(log.topicNames()).toEqual(["t"]);
  });

  test("whose deletion was cut short are gone after the next start", async () => {
    const directory = await temporaryFolder();
    const catalog = new MemoryCatalog();
    const options = logOptions(directory, { catalog });
    const log = await openEmbeddedLog({
      ...options,
      fileSystem: changed(nodeFileSystem, { rename: () => Promise.reject(new Error("the power is gone")) }),
    });
    await log.createTopic("t");
    await expect(log.deleteTopic("t")).rejects.toThrow("the power is gone");
    expect(await readdir(directory)).toEqual(["t-0"]);
    const again = await openEmbeddedLog(options);
    expect(again.topicNames()).toEqual([]);
    expect(await readdir(directory)).toEqual([]);
    await again.close();
  });

  test("whose deletion failed are finished with when the name is used again", async () => {
    const directory = await temporaryFolder();
    let failing = true;
    const rename = (from: string, to: string): Promise<void> =>
      failing ? Promise.reject(new Error("the disk is busy")) : nodeFileSystem.rename(from, to);
    const options = logOptions(directory, { fileSystem: changed(nodeFileSystem, { rename }) });
    const log = await openEmbeddedLog(options);
    await log.createTopic("t", { partitions: 2 });
    await appendOneByOne(log, ["old"]);
    await expect(log.deleteTopic("t")).rejects.toThrow("the disk is busy");
    failing = false;
    await log.createTopic("t");
    await appendOneByOne(log, ["new"]);
    expect(await readdir(directory)).toEqual(["t-0"]);
    await log.close();
    const again = await openEmbeddedLog(options);
    expect(await readAll(again)).toEqual(["new"]);
    await again.close();
  });

  test("never take over a folder with somebody's data in it", async () => {
    const directory = await temporaryFolder();
    const log = await openEmbeddedLog(logOptions(directory));
    await mkdir(path.join(directory, "mine-0"));
    await writeFile(path.join(directory, "mine-0", "00000000000000000000.log"), "precious");
    await expect(log.createTopic("mine")).rejects.toEqual(code("TOPIC_FOLDER_IN_USE"));
    expect(await readFile(path.join(directory, "mine-0", "00000000000000000000.log"), "utf8")).toBe("precious");
    await log.close();
  });
});
