import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, describe, expect, test, vi } from "vitest";
import { crc32cRange } from "../../../src/base/crc32c.ts";
import { nodeFileSystem } from "../../../src/base/nodeFileSystem.ts";
import type { QueueJournal } from "../../../src/log/contract/queueJournal.ts";
import { commitEntryBytes, EntryKind, fileHeaderBytes } from "../../../src/log/journal/files/format.ts";
import { HandleCache } from "../../../src/log/journal/segments/handleCache.ts";
import { bundleChild } from "../../support/bundleChild.ts";
import { SimulatedFileSystem } from "../../support/simulatedFileSystem.ts";
import { until } from "../../support/until.ts";
import { append, fileBytes, type Opened, open, patch, settled } from "./opened.ts";

const firstFile = "/journal/000000000001.journal";

async function isRefused(journal: QueueJournal): Promise<boolean> {
  try {
    append(journal, 1000, "");
    return false;
  } catch {
    return true;
  }
}

describe("queue journal", () => {
  test("a message is read back while it waits, after it is written, and after a restart", async () => {
    const fs = new SimulatedFileSystem({ seed: 1 });
    const first = await open(fs);
    const position = append(first.journal, 0, "hello");
    const read = async ({ journal }: Opened): Promise<string> => (await journal.read(position)).content.toString();
    expect(await read(first)).toBe("hello");
    await first.journal.sync();
    expect(await read(first)).toBe("hello");
    await first.journal.close();
    const second = await open(fs);
    expect(await read(second)).toBe("hello");
    expect((await second.journal.read(position)).address).toEqual(Buffer.of(1, 65, 1, 66));
    expect(second.replayed.live.get("1/0")).toMatchObject({ position, contentBytes: 5, timestamp: 1, dedupeId: undefined });
  });

  test("who reads while it is closed gets what was asked for, and who asks later is refused; no file stays open", async () => {
    const fs = new SimulatedFileSystem({ seed: 1, turnsMax: 40 });
    const { journal } = await open(fs);
    const bodies = Array.from({ length: 30 }, (_, n) => `message ${n}`);
    const positions = bodies.map((body, n) => append(journal, n, body));
    await journal.sync();
    const reads = positions.map((position) => journal.read(position));
    const closed = journal.close();
    expect((await Promise.all(reads)).map(({ content }) => content.toString())).toEqual(bodies);
    await closed;
    expect(fs.openFiles()).toEqual([]);
    await expect(journal.read(positions[0] as number)).rejects.toMatchObject({ code: "JOURNAL_CLOSED" });
  });

  test("so do those who read from its segments", async () => {
    const fs = new SimulatedFileSystem({ seed: 1, turnsMax: 40 });
    await fs.makeDirectory("/segments");
    await fs.open("/segments/one", "create").then((file) => file.close());
    const handles = new HandleCache(fs, 10);
    const uses = Array.from({ length: 10 }, () => handles.use("/segments/one", (file) => file.bytes()));
    const closed = handles.close();
    expect(await Promise.all(uses)).toEqual(uses.map(() => 0));
    await closed;
    expect(fs.openFiles()).toEqual([]);
    await expect(handles.use("/segments/one", (file) => file.bytes())).rejects.toMatchObject({ code: "JOURNAL_CLOSED" });
  });

  test("thousands of messages of one turn cost one sync, and their bytes count until then", async () => {
    const { journal, budget } = await open(new SimulatedFileSystem({ seed: 1 }), "/journal", 1024 * 1024);
    const before = budget.used;
    const failure = settled((receipt) => {
      for (let n = 0; n < 3000; n++) append(journal, n, "x".repeat(100), receipt);
    });
    expect(budget.used - before).toBeGreaterThan(300_000);
    expect(await failure).toBeUndefined();
    expect(journal.stats.syncs).toBe(1);
    expect(budget.used).toBe(0);
  });

  test("transient messages and acknowledgements alone cost no sync; who joins one of them later waits for one", async () => {
    const { journal } = await open(new SimulatedFileSystem({ seed: 1 }));
    const position = append(journal, 0, "x", undefined, false);
    while (journal.stats.bytesWritten === 0) await new Promise((resolve) => setImmediate(resolve));
    expect(journal.stats.syncs).toBe(0);
    expect(await settled((receipt) => journal.joinPending(position, receipt))).toBeUndefined();
    expect(journal.stats.syncs).toBe(1);
    await settled((receipt) => journal.joinPending(position, receipt));
    expect(journal.stats.syncs).toBe(1);
  });

  test("acknowledgements are written soon, without anything that pushes them", async () => {
    const fs = new SimulatedFileSystem({ seed: 1 });
    const { journal } = await open(fs);
    const position = append(journal, 0, "x");
    await journal.sync();
    const before = journal.stats.bytesWritten;
    journal.acknowledge(1, 0, position);
    while (journal.stats.bytesWritten === before) await new Promise((resolve) => setTimeout(resolve, 1));
    expect((await open(fs.kill())).replayed.live.size).toBe(0);
  });

  test("consumed files are used again, so that the journal doesn't grow", async () => {
    const { journal } = await open(new SimulatedFileSystem({ seed: 1 }));
    for (let n = 0; n < 300; n++) {
      const position = append(journal, n, "x".repeat(500));
      await journal.sync();
      journal.acknowledge(1, n, position);
    }
    expect(journal.stats.bytesWritten).toBeGreaterThan(fileBytes * 15);
    expect(journal.stats.files).toBeLessThanOrEqual(5);
  });

  test.each(["never", "at first"])("a backlog that is gone gives its disk space back, where removing a file fails %s", async (fails) => {
    const fs = new SimulatedFileSystem({ seed: 1 });
    const { journal, said } = await open(fs);
    if (fails === "at first") fs.failNext({ op: "removeFile", path: ".journal", code: "EIO", times: 2 });
    const positions = Array.from({ length: 200 }, (_, n) => append(journal, n, "x".repeat(500)));
    await journal.sync();
    expect(journal.stats.files).toBeGreaterThan(12);
    positions.forEach((position, offset) => journal.acknowledge(1, offset, position));
    while (journal.stats.files > 4) await new Promise((resolve) => setImmediate(resolve));
    await journal.close();
    expect((await fs.list("/journal")).length).toBeLessThanOrEqual(4);
    expect(said).toEqual(fails === "never" ? [] : Array(2).fill("could not remove a free file of the journal; trying again"));
  });

  test("a message that fits into no file is refused, the next one is taken", async () => {
    const { journal } = await open(new SimulatedFileSystem({ seed: 1 }));
    expect(() => append(journal, 0, "x".repeat(fileBytes))).toThrow(expect.objectContaining({ code: "MESSAGE_TOO_LARGE" }) as Error);
    expect(await settled((receipt) => append(journal, 0, "x".repeat(fileBytes - 200), receipt))).toBeUndefined();
  });

  test.each(["write", "sync"] as const)(
    "after a failed %s who waits is told and nothing is taken; then it goes on in another file with all that was taken",
    async (op) => {
      const fs = new SimulatedFileSystem({ seed: 5 });
      const { journal, budget, moves, said } = await open(fs);
      const kept = append(journal, 0, "kept");
      await journal.sync();
      fs.failNext({ op, code: "EIO", path: ".journal", times: Number.POSITIVE_INFINITY });
      const flown: number[] = [];
      expect(await settled((receipt) => flown.push(append(journal, 1, "in flight", receipt)))).toMatchObject({
        code: "JOURNAL_FAILED",
        retryable: true,
      });
      expect(journal.stats).toMatchObject({ refused: "JOURNAL_FAILED", failures: 1 });
      expect(() => append(journal, 2, "refused")).toThrow(expect.objectContaining({ code: "JOURNAL_FAILED" }) as Error);
      expect(await settled((receipt) => journal.joinPending(flown[0] as number, receipt))).toMatchObject({ code: "JOURNAL_FAILED" });
      await expect(journal.sync()).rejects.toMatchObject({ code: "JOURNAL_FAILED" });
      expect((await journal.read(kept)).content.toString()).toBe("kept");
      expect((await journal.read(flown[0] as number)).content.toString()).toBe("in flight");
      expect(budget.used).toBe(0);
      journal.acknowledge(1, 0, kept);
      fs.heal();
      while (journal.stats.refused !== undefined) await new Promise((resolve) => setTimeout(resolve, 5));
      expect(said).toContain("the journal goes on in another file; nothing that was taken is lost");
      const [from, to] = moves.get("1/1") as [number, number];
      expect(from).toBe(flown[0]);
      expect((await journal.read(to)).content.toString()).toBe("in flight");
      append(journal, 3, "after");
      await journal.sync();
      expect(budget.used).toBe(0);
      const again = await open(fs.crash());
      expect([...again.replayed.live.keys()]).toEqual(["1/1", "1/3"]);
      expect(again.said).toEqual([]);
    },
  );

  test("a file that failed is not written again once it is free: another of its descriptors may still have to tell of the failure", async () => {
    const fs = new SimulatedFileSystem({ seed: 5 });
    const { journal, moves, said } = await open(fs);
    const synced = append(journal, 0, "synced");
    await journal.sync();
    const before = journal.stats.bytesWritten;
    append(journal, 1, "transient", undefined, false);
    while (journal.stats.bytesWritten === before) await new Promise((resolve) => setImmediate(resolve));
    fs.failNext({ op: "sync", code: "EIO", path: ".journal" });
    expect(await settled((receipt) => append(journal, 2, "in flight", receipt))).toMatchObject({ code: "JOURNAL_FAILED" });
    while (journal.stats.refused !== undefined) await new Promise((resolve) => setTimeout(resolve, 5));
    const moved = ["1/1", "1/2"].map((copy) => (moves.get(copy) as readonly [number, number])[1]);
    [synced, ...moved].forEach((position, offset) => journal.acknowledge(1, offset, position));
    for (let offset = 3; offset < 100; offset++) {
      const position = append(journal, offset, "x".repeat(500));
      await journal.sync();
      journal.acknowledge(1, offset, position);
    }
    expect(journal.stats.failures).toBe(1);
    expect(said.filter((line) => line.includes("could not") || line.includes("failed"))).toHaveLength(1);
  });

  test("a journal that is closed while the disk refuses ends, with what was confirmed, and the next start goes on", async () => {
    const fs = new SimulatedFileSystem({ seed: 5 });
    const { journal } = await open(fs);
    append(journal, 0, "kept");
    await journal.sync();
    fs.failNext({ op: "sync", code: "EIO", times: Number.POSITIVE_INFINITY });
    expect(await settled((receipt) => append(journal, 1, "in flight", receipt))).toMatchObject({ code: "JOURNAL_FAILED" });
    await journal.close();
    fs.heal();
    const { replayed, said, journal: next } = await open(fs.crash());
    expect(replayed.live.has("1/0")).toBe(true);
    expect(said).toEqual([]);
    expect(await settled((receipt) => append(next, 5, "after", receipt))).toBeUndefined();
  });

  test("a file that cannot be made is tried again: publishing stops before it is needed, and goes on by itself", async () => {
    const fs = new SimulatedFileSystem({ seed: 1 });
    const { journal, said } = await open(fs);
    fs.failNext({ op: "sync", path: ".spare", code: "EIO", times: 3 });
    const position = append(journal, 0, "first");
    await journal.sync();
    while (journal.stats.refused === undefined) await new Promise((resolve) => setImmediate(resolve));
    expect(() => append(journal, 1, "refused")).toThrow(expect.objectContaining({ code: "JOURNAL_FAILED", retryable: true }) as Error);
    journal.acknowledge(1, 0, position);
    await journal.sync();
    while (journal.stats.refused !== undefined) await new Promise((resolve) => setTimeout(resolve, 5));
    expect(said.slice(-1)).toEqual(["there is room on the disk again: queues take messages"]);
    expect(journal.stats).toMatchObject({ failures: 0, files: 2 });
  });

  test("on a full disk there is room for the acknowledgements of everything", async () => {
    const fs = new SimulatedFileSystem({ seed: 1 });
    const { journal } = await open(fs);
    const positions = [append(journal, 0, "")];
    await journal.sync();
    while ((await fs.list("/journal")).length < 2) await new Promise((resolve) => setImmediate(resolve));
    fs.limitDisk(2 * fileBytes);
    while (journal.stats.refused === undefined) {
      positions.push(append(journal, positions.length, ""));
      await journal.sync();
    }
    expect(positions.length).toBeGreaterThan(40);
    for (const [offset, position] of positions.entries()) {
      journal.acknowledge(1, offset, position);
      await journal.sync();
    }
    expect((await open(fs.crash())).replayed.live.size).toBe(0);
  });

  test("while the disk is full messages are refused, acknowledgements are kept, and then it goes on by itself", async () => {
    const fs = new SimulatedFileSystem({ seed: 1 });
    const { journal } = await open(fs);
    fs.failNext({ op: "write", path: ".spare", code: "ENOSPC", times: Number.POSITIVE_INFINITY });
    const confirmed: number[] = [];
    let refused: unknown;
    while (refused === undefined) {
      try {
        confirmed.push(append(journal, confirmed.length, "x".repeat(400)));
        await journal.sync();
      } catch (error) {
        refused = error;
      }
    }
    expect(refused).toMatchObject({ code: "JOURNAL_FULL", retryable: true, where: "/journal" });
    const used = (confirmed.at(-1) as number) - (confirmed[0] as number);
    expect(used).toBeLessThan(fileBytes); // refused while there is still room for acknowledgements
    journal.acknowledge(1, 0, confirmed[0] as number);
    await journal.sync();
    expect((await journal.read(confirmed[1] as number)).content.toString()).toBe("x".repeat(400));
    // what a try took is given back, until the next one
    await vi.waitFor(async () => expect((await fs.list("/journal")).length).toBe(1), { timeout: 100_000, interval: 1 });
    fs.heal();
    for (let again = true; again; ) {
      await new Promise((resolve) => setTimeout(resolve, 20));
      try {
        append(journal, confirmed.length, "after");
        again = false;
      } catch (error) {
        expect(error).toMatchObject({ code: "JOURNAL_FULL" });
      }
    }
    await journal.sync();
    const { replayed } = await open(fs.crash());
    const offsets = [...replayed.live.keys()].map((key) => Number(key.slice(2)));
    expect(offsets).toEqual(Array.from({ length: confirmed.length }, (_, n) => n + 1)); // all but the acknowledged one, and the last
  });

  test("a journal that is closed while the disk is full and messages wait for it says that they are lost", async () => {
    const fs = new SimulatedFileSystem({ seed: 1 });
    const { journal } = await open(fs);
    fs.failNext({ op: "write", path: ".spare", code: "ENOSPC", times: Number.POSITIVE_INFINITY });
    const outcomes = Array.from({ length: 40 }, (_, n) => settled((receipt) => append(journal, n, "x".repeat(400), receipt)));
    expect(await outcomes[0]).toBeUndefined();
    while (!(await isRefused(journal))) await new Promise((resolve) => setImmediate(resolve));
    await expect(journal.close()).rejects.toMatchObject({ code: "JOURNAL_FAILED" });
    expect(await outcomes.at(-1)).toMatchObject({ code: "JOURNAL_FAILED" });
  });

  test("a torn end is no damage because a message in it looks like the journal's own commit", async () => {
    const fs = new SimulatedFileSystem({ seed: 1 });
    const { journal } = await open(fs);
    append(journal, 0, "before");
    await journal.sync();
    const forged = Buffer.alloc(commitEntryBytes);
    forged.writeUInt32LE(commitEntryBytes, 0);
    forged.writeUInt8(EntryKind.commit, 12);
    forged.writeDoubleLE(1, 16); // in this file
    forged.writeUInt32LE(fileBytes, 24); // all is synced
    forged.writeUInt32LE(crc32cRange(forged, 8, commitEntryBytes), 4);
    const position = append(journal, 1, forged);
    await journal.close();
    // the beginning of the last write did not reach the disk
    await patch(fs, firstFile, (position % fileBytes) - commitEntryBytes, Buffer.alloc(commitEntryBytes + 16));
    const { replayed } = await open(fs);
    expect([...replayed.live.keys()]).toEqual(["1/0"]);
  });

  test("a message that is damaged while the node runs is an error, never other bytes", async () => {
    const fs = new SimulatedFileSystem({ seed: 1 });
    const { journal } = await open(fs);
    const position = append(journal, 0, "x".repeat(600));
    await journal.sync();
    await patch(fs, firstFile, (position % fileBytes) + 300, Buffer.from("!"));
    await expect(journal.read(position)).rejects.toMatchObject({
      code: "JOURNAL_CORRUPT",
      where: `${firstFile} at byte ${position % fileBytes}`,
    });
  });

  test("a newer journal is refused", async () => {
    const fs = new SimulatedFileSystem({ seed: 1 });
    await (await open(fs)).journal.close();
    const header = (await fs.readFile(firstFile)).subarray(0, fileHeaderBytes);
    header[8] = 2;
    header.writeUInt32LE(crc32cRange(header, 0, 24), 24);
    await patch(fs, firstFile, 0, header);
    await expect(open(fs)).rejects.toMatchObject({ code: "JOURNAL_TOO_NEW" });
  });

  test("what a disk kept behind a hole doesn't come back when the same message is published again into the hole", async () => {
    const fs = new SimulatedFileSystem({ seed: 1 });
    const first = await open(fs);
    const position = append(first.journal, 0, "same");
    first.journal.acknowledge(1, 0, position);
    await first.journal.close();
    const begin = position % fileBytes;
    const end = begin + (await fs.readFile(firstFile)).readUInt32LE(begin);
    await patch(fs, firstFile, fileHeaderBytes, Buffer.alloc(end - fileHeaderBytes)); // all but the acknowledgement
    const second = await open(fs);
    expect(second.replayed.messages).toEqual([]);
    await settled((receipt) => append(second.journal, 0, "same", receipt));
    const third = await open(fs.crash());
    expect([...third.replayed.live.keys()]).toEqual(["1/0"]);
  });

  test("files of another size than configured are gone on with", async () => {
    const fs = new SimulatedFileSystem({ seed: 1 });
    const first = await open(fs);
    const position = append(first.journal, 0, "hello");
    await first.journal.close();
    const second = await open(fs, "/journal", fileBytes * 2);
    expect((await second.journal.read(position)).content.toString()).toBe("hello");
    expect(second.journal.stats.bytes).toBe(second.journal.stats.files * fileBytes);
  });
});

describe("queue journal of files that somebody put together", () => {
  test("one of another size among them is refused, with its name", async () => {
    const fs = new SimulatedFileSystem({ seed: 1 });
    await (await open(fs)).journal.close();
    const other = await open(fs, "/other", fileBytes * 2);
    for (let n = 0; n < 5; n++) append(other.journal, n, "x".repeat(fileBytes / 2));
    await other.journal.close();
    const second = "/journal/000000000002.journal";
    if ((await fs.stat(second)) === undefined) await (await fs.open(second, "create")).close();
    await patch(fs, second, 0, await fs.readFile(second.replace("/journal/", "/other/")));
    await expect(open(fs)).rejects.toMatchObject({ code: "JOURNAL_CORRUPT", where: expect.stringContaining(second) });
  });
});

describe("queue journal on the real file system", () => {
  const folders: string[] = [];
  const temporary = async (): Promise<string> => {
    folders.push(await mkdtemp(path.join(tmpdir(), "millrace-journal-")));
    return folders.at(-1) as string;
  };
  afterEach(async () => {
    for (const folder of folders.splice(0)) await rm(folder, { recursive: true, force: true });
  });

  test("a backlog is written, read back in order and consumed", async () => {
    const directory = await temporary();
    const first = await open(nodeFileSystem, directory, 256 * 1024);
    const positions = Array.from({ length: 5000 }, (_, n) => append(first.journal, n, `message ${n} ${"x".repeat(200)}`));
    await first.journal.sync();
    await first.journal.close();
    const { journal, replayed } = await open(nodeFileSystem, directory, 256 * 1024);
    expect(replayed.live.size).toBe(5000);
    for (const position of positions) journal.pin(position);
    for (const [n, position] of positions.entries()) {
      expect((await journal.read(position)).content.toString().startsWith(`message ${n} x`)).toBe(true);
      journal.acknowledge(1, n, position);
    }
    await journal.close();
    expect((await open(nodeFileSystem, directory)).replayed.live.size).toBe(0);
  });

  test("killed with SIGKILL again and again while it appends, it has every confirmed message", async () => {
    const directory = await temporary();
    const child = await bundleChild(new URL("appendForever.child.ts", import.meta.url));
    let running: ChildProcess | undefined;
    try {
      let confirmed = -1;
      for (let round = 0; round < 4; round++) {
        running = child.start([directory]);
        let output = "";
        running.stdout?.setEncoding("utf8").on("data", (text: string) => {
          output += text;
        });
        await until("it has appended some more", () => output.split("\n").length >= 3 + round * 15);
        running.kill("SIGKILL");
        await once(running, "close");
        confirmed = Math.max(confirmed, ...output.trim().split("\n").map(Number));
        const { journal, replayed } = await open(nodeFileSystem, directory);
        for (const { position } of replayed.messages) journal.pin(position);
        for (let n = 0; n <= confirmed; n++) {
          const message = replayed.live.get(`7/${n}`);
          expect(message, `message ${n} of ${confirmed} confirmed, round ${round}`).toBeDefined();
          const { content } = await journal.read(message?.position as number);
          expect(content.equals(Buffer.alloc(200, `message ${n} `))).toBe(true);
        }
        await journal.close();
      }
      expect(confirmed).toBeGreaterThan(500);
    } finally {
      running?.kill("SIGKILL");
      await child.remove();
    }
  });
});
