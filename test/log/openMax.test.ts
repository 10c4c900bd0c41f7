import { spawn } from "node:child_process";
import { describe, expect, test } from "vitest";
import type { EmbeddedLog } from "../../src/log/contract/embeddedLog.ts";
import type { Json } from "../../src/log/contract/keyedStore.ts";
import { openEmbeddedLog } from "../../src/log/embedded/embeddedLog.ts";
import { openMaxByDefault } from "../../src/log/embedded/reading/openMax.ts";
import { bundleChild } from "../support/bundleChild.ts";
import { SimulatedFileSystem } from "../support/simulatedFileSystem.ts";
import { logOptions, MemoryCatalog, producer, readFrom, record, smallDefaults, temporaryFolder, valuesOf } from "./support.ts";

/** A partition or a reader has five files open at most (one of them twice on a real disk), upkeep and the making of topics a dozen. */
const filesMax = (openMax: number): number => 5 * openMax + 12;

async function openWith(partitions: number, openMax: number, fileSystem: SimulatedFileSystem, catalog = new MemoryCatalog()) {
  const defaults = { ...smallDefaults, segmentBytes: 300 };
  const log = await openEmbeddedLog(logOptions("/data", { fileSystem, openMax, catalog, defaults }));
  await log.createTopic("t", { partitions });
  const descriptors = log.topic("t")?.description.partitions ?? [];
  return { log, descriptors };
}

/** Its changes take a while, as on a disk. */
class SlowCatalog extends MemoryCatalog {
  override async change(changes: ReadonlyMap<string, Json | null>): Promise<void> {
    await nextTurn();
    await nextTurn();
    await super.change(changes);
  }
}

const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe("few files may be open", () => {
  test("500 partitions are appended to in one turn, again and again: every append is confirmed, and never are more files open", async () => {
    const fileSystem = new SimulatedFileSystem({ seed: 11, turnsMax: 1 });
    const { log, descriptors } = await openWith(500, 10, fileSystem);
    for (let round = 0; round < 3; round++) {
      await Promise.all(descriptors.map((_, partition) => log.append(producer, "t", partition, round, [record(`${round} ${partition}`)])));
    }
    expect(fileSystem.openMost).toBeLessThanOrEqual(filesMax(10));
    for (const partition of [0, 7, 499]) {
      const reader = await log.openReader(descriptors[partition] as never);
      expect(valuesOf(await readFrom(reader, 0))).toEqual([0, 1, 2].map((round) => `${round} ${partition}`));
      await reader.close();
    }
    await log.close();
    expect(fileSystem.openFiles()).toEqual([]);
  });

  for (const openMax of [1, 2, 5]) {
    test(`30 partitions are written, read, searched by time, rolled, cut and looked after at the same time through ${openMax}: all comes to its end`, async () => {
      const fileSystem = new SimulatedFileSystem({ seed: openMax, turnsMax: 1 });
      const { log, descriptors } = await openWith(30, openMax, fileSystem);
      const written = 12;
      const write = async (partition: number): Promise<void> => {
        for (let n = 0; n < written; n++)
          await log.append(producer, "t", partition, n, [record(`${n} ${"x".repeat(100)}`, { timestamp: n })]);
      };
      const read = async (partition: number): Promise<void> => {
        const reader = await log.openReader(descriptors[partition] as never, { isolation: "read_committed" });
        for (let next = 0; next < written; ) {
          await reader.untilAbove(next, AbortSignal.timeout(60_000));
          for (const { offset, value } of await readFrom(reader, next)) {
            expect(String(value)).toMatch(new RegExp(`^${offset} `));
            next = offset + 1;
          }
          expect((await reader.offsetForTimestamp(next - 1))?.offset).toBe(next - 1);
        }
        if (partition % 3 === 0) await log.deleteRecords("t", partition, written - 2);
        await reader.close();
      };
      const over = new AbortController();
      const lookAfter = async (): Promise<void> => {
        while (!over.signal.aborted) {
          await log.maintain();
          await log.sync("t");
          await log.topic("t")?.abortedTransactions(0, 0, 1);
        }
      };
      const background = lookAfter();
      await Promise.all(descriptors.flatMap((_, partition) => [write(partition), read(partition)]));
      over.abort();
      await background;
      expect(fileSystem.openMost).toBeLessThanOrEqual(filesMax(openMax));
      await log.close();
      expect(fileSystem.openFiles()).toEqual([]);
    });
  }

  for (const [end, finish] of [
    ["the log closes", (log: EmbeddedLog) => log.close()],
    ["the topic is deleted", (log: EmbeddedLog) => log.deleteTopic("t")],
  ] as const) {
    test(`${end} at any moment while records are deleted: that work gets the one place, which its own partition holds`, async () => {
      for (let turns = 0; turns < 20; turns++) {
        const { log } = await openWith(1, 1, new SimulatedFileSystem({ seed: turns, turnsMax: 1 }), new SlowCatalog());
        for (let n = 0; n < 4; n++) await log.append(producer, "t", 0, n, [record("x".repeat(200))]);
        const deleting = log.deleteRecords("t", 0, 3).catch((error: unknown) => error);
        for (let turn = 0; turn < turns; turn++) await nextTurn();
        await finish(log);
        await deleting;
        await log.close();
      }
    });
  }

  test("a partition that is appended to without pause lets the others have their turn", async () => {
    const fileSystem = new SimulatedFileSystem({ seed: 5, turnsMax: 1 });
    const { log } = await openWith(3, 1, fileSystem);
    const topic = log.topic("t");
    const over = new AbortController();
    const busy = (async () => {
      for (let n = 0; !over.signal.aborted; n++) {
        topic?.append(0, record(`${n}`), undefined);
        await nextTurn();
      }
    })();
    for (let n = 0; n < 5; n++) {
      await log.append(producer, "t", 1, n, [record("one")]);
      await log.append(producer, "t", 2, n, [record("two")]);
    }
    over.abort();
    await busy;
    await log.close();
  });

  test("a process that may have 256 files open takes a burst for 600 partitions, and its sockets get theirs meanwhile", async () => {
    const child = await bundleChild(new URL("burst.child.ts", import.meta.url));
    try {
      const args = ["-c", 'ulimit -n 256; exec "$0" "$@"', process.execPath, child.file, await temporaryFolder()];
      const running = spawn("sh", args, { stdio: ["ignore", "pipe", "inherit"] });
      let said = "";
      for await (const piece of running.stdout) said += String(piece);
      expect(JSON.parse(said)).toEqual({ confirmed: 600, failures: [], refusedMeanwhile: [] });
    } finally {
      await child.remove();
    }
  });

  test("by default as many as the operating system allows, in half of what it allows", async () => {
    const saying = async (text: string): Promise<number> => {
      const fileSystem = new SimulatedFileSystem({ seed: 1 });
      await fileSystem.makeDirectory("/proc/self");
      const file = await fileSystem.open("/proc/self/limits", "create");
      await file.write(Buffer.from(text), 0, text.length, 0);
      return openMaxByDefault(fileSystem);
    };
    const limits = (soft: string): string =>
      `Limit                     Soft Limit           Hard Limit           Units     \nMax open files            ${soft.padEnd(20)} 1048576              files     \n`;
    expect(await saying(limits("1024"))).toBe(85);
    expect(await saying(limits("1048576"))).toBe(1000);
    expect(await saying(limits("unlimited"))).toBe(1000);
    expect(await saying(limits("8"))).toBe(1);
    expect(await openMaxByDefault(new SimulatedFileSystem({ seed: 1 }))).toBe(1000);
  });
});
