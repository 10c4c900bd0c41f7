import { describe, expect, test } from "vitest";
import { Random } from "../../src/base/random.ts";
import type { EmbeddedTopic } from "../../src/log/contract/embeddedLog.ts";
import { type EmbeddedLogOptions, openEmbeddedLog } from "../../src/log/embedded/embeddedLog.ts";
import { verifyLog } from "../../src/log/tools/verifyLog.ts";
import { encodeBatch } from "../../src/record/batch.ts";
import { changed } from "../support/changed.ts";
import { SimulatedClock } from "../support/simulatedClock.ts";
import { SimulatedFileSystem } from "../support/simulatedFileSystem.ts";
import { code, logOptions, openWithTopic, readAll, record } from "./support.ts";

const batch = (value: string): Buffer => encodeBatch([record(value)]);

/** Its sender's memory flipped a bit; in it lies a whole batch that nobody ever sent. */
function damaged(value: string): Buffer {
  const bytes = batch(`${value}${batch("never sent").toString("latin1")}`);
  bytes[bytes.length - 1] = (bytes.at(-1) as number) ^ 1;
  return bytes;
}

const turns = async (count: number): Promise<void> => {
  for (let turn = 0; turn < count; turn++) await new Promise((resolve) => setImmediate(resolve));
};

/** What is done to the segments' files, in order. */
function watched(disk: SimulatedFileSystem, writeTurns = 0) {
  const done: string[] = [];
  /** As it was when it was given to `writeSynced`. */
  const written: Buffer[] = [];
  const fileSystem = changed(disk, {
    open: async (name, mode) => {
      const file = await disk.open(name, mode);
      if (!name.endsWith(".log") || mode === "read") return file;
      const { write, writeSynced, truncate, sync, close } = file;
      let writing = 0;
      file.writeSynced = async (from, offset, length, position) => {
        done.push(`write ${length} at ${position}, synced`);
        written.push(Buffer.from(from.subarray(offset, offset + length)));
        writing++;
        await writeSynced.call(file, from, offset, length, position);
        await turns(writeTurns);
        writing--;
      };
      file.write = async (from, offset, length, position) => {
        done.push(`write ${length} at ${position}`);
        await write.call(file, from, offset, length, position);
      };
      file.truncate = async (bytes) => {
        done.push(`cut to ${bytes}`);
        await truncate.call(file, bytes);
      };
      file.sync = async () => {
        done.push("sync");
        await sync.call(file);
      };
      file.close = async () => {
        if (writing > 0) done.push("closed while it is written");
        await close.call(file);
      };
      return file;
    },
  });
  return { fileSystem, done, written };
}

describe("a batch that is written while its checksum is looked at", () => {
  test("is written once, and before the turn is over in which it came", async () => {
    const { fileSystem, done, written } = watched(new SimulatedFileSystem({ seed: 1 }));
    const { log, topic } = await openWithTopic({ fileSystem, directory: "/data" });
    await topic.appendBatch(0, batch("first"));
    done.length = 0;
    const sent = batch("second");
    const appended = topic.appendBatch(0, sent);
    expect(done).toEqual([`write ${sent.length} at ${sent.length - 1}, synced`]);
    expect(sent, "while it is written nothing is put into it").toEqual(written.at(-1));
    await appended;
    expect(sent).toEqual(written.at(-1));
    expect(done).toEqual([`write ${sent.length} at ${sent.length - 1}, synced`]);
    expect(await readAll(log)).toEqual(["first", "second"]);
    await log.close();
  });

  test("leaves nothing behind when it is damaged: what comes next lies in its place", async () => {
    const disk = new SimulatedFileSystem({ seed: 2, turnsMax: 9 });
    const { fileSystem, done } = watched(disk);
    const { log, topic } = await openWithTopic({ fileSystem, directory: "/data" });
    await topic.appendBatch(0, batch("first"));
    done.length = 0;
    const bad = damaged("second ");
    await expect(topic.appendBatch(0, bad)).rejects.toEqual(code("BATCH_CORRUPT"));
    const next = topic.appendBatch(0, batch("third"));
    const [first, third] = [batch("first").length, batch("third").length];
    await expect(topic.appendBatch(0, bad)).rejects.toEqual(code("BATCH_CORRUPT"));
    await next;
    const rest = [`cut to ${first}`, "sync", `write ${third} at ${first}, synced`];
    expect(done).toEqual([`write ${bad.length} at ${first}, synced`, ...rest]);
    expect(await readAll(log)).toEqual(["first", "third"]);
    expect(disk.peek("/data/t-0/00000000000000000000.log")?.length).toBe(first + third);
    await log.close();
    expect((await verifyLog(fileSystem, "/data", () => undefined)).problems).toEqual([]);
  });

  test("is not begun again for a sender of damaged ones before a good one came", async () => {
    const { fileSystem, done } = watched(new SimulatedFileSystem({ seed: 8 }));
    const { log, topic } = await openWithTopic({ fileSystem, directory: "/data" });
    await topic.appendBatch(0, batch("first"));
    done.length = 0;
    for (let n = 0; n < 9; n++) {
      await expect(topic.appendBatch(0, damaged("x"))).rejects.toEqual(code("BATCH_CORRUPT"));
      await turns(20);
    }
    expect(done.filter((what) => what.startsWith("write")).length).toBe(1);
    await topic.appendBatch(0, batch("good"));
    done.length = 0;
    await expect(topic.appendBatch(0, damaged("x"))).rejects.toEqual(code("BATCH_CORRUPT"));
    expect(done).toEqual([expect.stringMatching(/^write/)]);
    await log.close();
  });

  test("is not begun if anything but its checksum is wrong, and not for a producer who sends it a second time", async () => {
    const { fileSystem, done } = watched(new SimulatedFileSystem({ seed: 3 }));
    const { log, topic } = await openWithTopic({ fileSystem, directory: "/data" });
    const of = (baseSequence: number): Buffer => encodeBatch([record("x")], { producerId: 7n, producerEpoch: 0, baseSequence });
    await topic.appendBatch(0, of(0));
    done.length = 0;
    expect(await topic.appendBatch(0, of(0))).toEqual({ baseOffset: 0, logAppendTime: -1, duplicate: true });
    await expect(topic.appendBatch(0, of(5))).rejects.toEqual(code("OUT_OF_ORDER_SEQUENCE"));
    await expect(topic.appendBatch(0, Buffer.concat([batch("x"), Buffer.alloc(1)]))).rejects.toEqual(code("BATCH_CORRUPT"));
    expect(done).toEqual([]);
    await topic.appendBatch(0, of(1));
    expect(done).toEqual([expect.stringMatching(/^write/)]);
    await log.close();
  });

  test("is there whole or not at all after a kill or a loss of power, and never if it was damaged", async () => {
    const seen = { cutShort: 0, restarts: 0 };
    for (let seed = 1; seed <= 60; seed++) {
      const random = new Random(seed);
      let fileSystem = new SimulatedFileSystem({ seed, turnsMax: 6, met: () => seen.cutShort++ });
      const options: EmbeddedLogOptions = logOptions("/data", { fileSystem });
      let log = await openEmbeddedLog(options);
      await log.createTopic("t");
      const kept: string[] = [];
      for (let life = 0; life < 4; life++) {
        let unclear: string | undefined;
        const run = async (topic: EmbeddedTopic): Promise<void> => {
          for (let n = 0; ; n++) {
            const value = `${life}-${n} ${"x".repeat(random.below(300))}`;
            if (random.below(2) === 0) await expect(topic.appendBatch(0, damaged(value))).rejects.toThrow();
            unclear = value;
            await topic.appendBatch(0, batch(value));
            kept.push(value);
            unclear = undefined;
          }
        };
        const running = run(log.topic("t") as EmbeddedTopic).catch(() => undefined);
        await turns(random.below(80));
        fileSystem = random.below(2) === 0 ? fileSystem.kill() : fileSystem.crash();
        await running;
        log = await openEmbeddedLog({ ...options, fileSystem });
        const found = await readAll(log);
        if (found.length > kept.length && unclear !== undefined) kept.push(unclear);
        expect(found, `seed ${seed}, life ${life}`).toEqual(kept);
        seen.restarts++;
      }
      await (log.topic("t") as EmbeddedTopic).appendBatch(0, batch("takes more"));
      await log.close();
    }
    expect(seen.cutShort).toBeGreaterThan(20);
  });

  test("fails like any other when it cannot be written; if it is damaged too, the next one goes on in a new file", async () => {
    for (const isDamaged of [false, true]) {
      const fileSystem = new SimulatedFileSystem({ seed: 5, turnsMax: 5 });
      const { log, topic } = await openWithTopic({ fileSystem, directory: "/data" });
      await topic.appendBatch(0, batch("before"));
      fileSystem.failNext({ op: "write", code: "EIO", path: ".log" });
      const appended = topic.appendBatch(0, isDamaged ? damaged("failed") : batch("failed"));
      await expect(appended).rejects.toEqual(code(isDamaged ? "BATCH_CORRUPT" : "LOG_FAILED"));
      await turns(300);
      await topic.appendBatch(0, batch("after"));
      expect(await readAll(log)).toEqual(["before", "after"]);
      await log.close();
      expect((await verifyLog(fileSystem, "/data", () => undefined)).problems).toEqual([]);
    }
  });

  test("is refused with those that came behind it when the disk has no room for them, and does not appear", async () => {
    const disk = new SimulatedFileSystem({ seed: 6 });
    const { fileSystem, done } = watched(disk, 20);
    const clock = new SimulatedClock(1_000_000);
    const { log, topic, options } = await openWithTopic({ fileSystem, directory: "/data", clock, diskReserveBytes: 1000 });
    disk.limitDisk(20_000);
    await topic.appendBatch(0, batch("before"));
    done.length = 0;
    const both = [topic.appendBatch(0, batch("fits")), topic.appendBatch(0, batch("x".repeat(40_000)))];
    expect(done).toEqual([expect.stringMatching(/^write/)]);
    const outcomes = await Promise.allSettled(both);
    expect(outcomes.map(({ status }) => status)).toEqual(["rejected", "rejected"]);
    expect(outcomes[0]).toEqual({ status: "rejected", reason: code("LOG_DISK_FULL") });
    expect(done).not.toContain("closed while it is written");
    const after = await openEmbeddedLog({ ...options, fileSystem: disk.kill() });
    expect(await readAll(after)).toEqual(["before"]);
    await after.close();
    void log;
  });

  test("goes with its topic, and is cut before the log is closed", async () => {
    const disk = new SimulatedFileSystem({ seed: 7, turnsMax: 30 });
    const { log, topic } = await openWithTopic({ fileSystem: disk, directory: "/data" });
    await topic.appendBatch(0, batch("before"));
    const refused = expect(topic.appendBatch(0, damaged("x"))).rejects.toEqual(code("BATCH_CORRUPT"));
    await log.close();
    await refused;
    expect(disk.peek("/data/t-0/00000000000000000000.log")?.length).toBe(batch("before").length);

    const other = await openWithTopic({ fileSystem: disk, directory: "/other" });
    await other.topic.appendBatch(0, batch("before"));
    const gone = expect(other.topic.appendBatch(0, batch("y"))).rejects.toEqual(code("TOPIC_DELETED"));
    await other.log.deleteTopic("t");
    await gone;
    expect(disk.files("/other").filter((file) => file.endsWith(".log"))).toEqual([]);
    await other.log.close();
  });
});
