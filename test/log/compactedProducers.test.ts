import { readdir, writeFile } from "node:fs/promises";
import path from "node:path";
import { describe, expect, test } from "vitest";
import { encodeBatch } from "../../src/record/batch.ts";
import { SimulatedFileSystem } from "../support/simulatedFileSystem.ts";
import { batchesOf, checkFiles, code, contentOf, end, folderOf, hour, openRun, roll, text, within } from "./compactedTopic.ts";
import { readFrom, record } from "./support.ts";

describe("a compacted topic and its producers", () => {
  test("goes on where each producer stands, although none of its records is left, and also when only the batches know", async () => {
    const run = await openRun({});
    const foreign = (baseSequence: number): Buffer =>
      encodeBatch([record("x", { key: Buffer.from("k") }), record("y", { key: Buffer.from("k") })], {
        producerId: 77n,
        producerEpoch: 2,
        baseSequence,
      });
    await run.topic.appendBatch(0, foreign(0));
    const { baseOffset } = await run.topic.appendBatch(0, foreign(2));
    await run.put("k=latest");
    await roll(run);
    await roll(run);
    await run.log.maintain();
    expect(await contentOf(run)).toEqual([`${baseOffset + 2} k=latest`]);
    await run.log.close();
    for (const name of await readdir(folderOf(run))) {
      if (name.endsWith(".snapshot")) await writeFile(path.join(folderOf(run), name), "gone");
    }
    const again = await openRun({}, run.options);
    expect(await again.topic.appendBatch(0, foreign(2))).toMatchObject({ baseOffset, duplicate: true });
    await expect(again.topic.appendBatch(0, foreign(7))).rejects.toEqual(code("OUT_OF_ORDER_SEQUENCE"));
    expect(await again.topic.appendBatch(0, foreign(4))).toMatchObject({ duplicate: false });
    await again.log.close();
  });

  test("keeps what transactions committed, forgets what they aborted, and leaves alone what is not decided", async () => {
    const run = await openRun({ segmentBytes: 900, deleteRetentionMs: 0 });
    const sequences = new Map<bigint, number>();
    const next = (producerId: bigint, key: string, value: string | null): Promise<number> => {
      const sequence = sequences.get(producerId) ?? 0;
      sequences.set(producerId, sequence + 1);
      return within(run, producerId, sequence, key, value);
    };
    const committed = await run.log.openReader((await run.log.describeTopic("t"))?.partitions[0] as never, { isolation: "read_committed" });
    const seen = async (): Promise<string[]> => {
      const found = await readFrom(committed, 0);
      return found.filter(({ key }) => String(key) !== "filler").map(text);
    };
    for (let round = 0; round < 30; round++) {
      await next(1n, "a", `committed ${round}`);
      await next(2n, "a", `aborted ${round}`);
      await next(2n, "b", round === 0 ? "never" : null);
      await end(run, 2n, "abort");
      await run.put(`b=plain ${round}`);
      await end(run, 1n, "commit");
      if (round % 10 === 9) await run.log.maintain();
    }
    await roll(run);
    await roll(run);
    await run.log.maintain();
    run.time.now += hour;
    await run.log.maintain();
    expect((await seen()).slice(-2)).toEqual(["a=committed 29", "b=plain 29"]);
    expect((await seen()).length).toBeLessThan(6);
    const all = await readFrom(run.reader, 0);
    expect(all.filter(({ value }) => String(value).startsWith("aborted")).length).toBeLessThan(3); // in what is not compacted yet

    const open = await next(3n, "c", "open");
    await run.put("b=later");
    await roll(run);
    await roll(run);
    await run.log.maintain();
    expect((await readFrom(run.reader, open)).map(text).slice(0, 2)).toEqual(["c=open", "b=later"]);
    await end(run, 3n, "abort");
    await run.put("b=last");
    await roll(run);
    await roll(run);
    await run.log.maintain();
    expect((await seen()).filter((line) => !line.startsWith("a="))).toEqual(["b=last"]);
    await checkFiles(run);
    await committed.close();
    await run.log.close();
    for (const name of await readdir(folderOf(run))) {
      if (name.endsWith(".snapshot")) await writeFile(path.join(folderOf(run), name), "gone");
    }
    const again = await openRun({ segmentBytes: 900 }, run.options);
    expect(await again.topic.openTransactions(0)).toEqual([]);
    const reader = await again.log.openReader((await again.log.describeTopic("t"))?.partitions[0] as never, {
      isolation: "read_committed",
    });
    expect((await readFrom(reader, 0)).filter(({ value }) => /aborted|open/.test(String(value)))).toEqual([]);
    await again.log.close();
  });

  test("keeps a marker for delete.retention.ms after the last batch of its transaction was gone, and what says an epoch for ever", async () => {
    const run = await openRun({ segmentBytes: 900, deleteRetentionMs: 10 * hour });
    const folder = folderOf(run);
    const aborted = await within(run, 1n, 0, "a", "aborted");
    const abort = await end(run, 1n, "abort");
    await within(run, 2n, 0, "a", "committed");
    const commit = await end(run, 2n, "commit");
    await within(run, 3n, 0, "a", "of a zombie");
    const fence = await end(run, 3n, "abort", 1);
    await within(run, 1n, 1, "b", "later");
    const commit1 = await end(run, 1n, "commit");
    await run.put("a=last");
    await roll(run);
    const compactAgain = async (): Promise<number[]> => {
      await roll(run);
      await run.log.maintain();
      return (await batchesOf(run)).filter(({ isMarker }) => isMarker).map(({ offset }) => offset);
    };
    expect(await compactAgain()).toEqual([abort, commit, fence, commit1]); // what they end was there when the pass began
    expect((await batchesOf(run)).map(({ offset }) => offset)).not.toContain(aborted);
    expect(await run.topic.abortedTransactions(0, 0, fence + 1)).toHaveLength(2);
    expect(await compactAgain()).toEqual([abort, commit, fence, commit1]); // from now on they wait; 2's batch is empty, and its last one
    expect(await run.topic.abortedTransactions(0, 0, fence + 1)).toEqual([]);
    run.time.now += 9 * hour;
    expect(await compactAgain()).toEqual([abort, commit, fence, commit1]);
    run.time.now += 2 * hour;
    expect(await compactAgain()).toEqual([commit, fence, commit1]);
    await checkFiles(run);
    await run.log.close();
    for (const name of await readdir(folder)) if (name.endsWith(".snapshot")) await writeFile(path.join(folder, name), "gone");
    const again = await openRun({ segmentBytes: 900, deleteRetentionMs: 10 * hour }, run.options);
    await expect(within(again, 3n, 1, "a", "zombie", 0)).rejects.toEqual(code("PRODUCER_FENCED"));
    expect(await again.topic.openTransactions(0)).toEqual([]);
    await within(again, 2n, 1, "a", "goes on");
    await again.log.close();
  });

  test("takes no transaction for open whose marker is gone, also where the last snapshot of the producers is from before the marker", async () => {
    const fileSystem = new SimulatedFileSystem({ seed: 1, turnsMax: 0 });
    // so little memory for keys that a segment takes many passes
    const config = { segmentBytes: 40_000, deleteRetentionMs: 0 };
    const run = await openRun(config, { directory: "/data", fileSystem, compactionKeyBytesMax: 4096 });
    await within(run, 1n, 0, "a", "aborted");
    await run.put(`filler=${"x".repeat(39_500)}`);
    await run.put(`a=1 ${"x".repeat(500)}`); // begins a segment, so the producers are written down
    const abort = await end(run, 1n, "abort");
    const later = encodeBatch([record("x", { key: Buffer.from("a") })], { producerId: 1n, producerEpoch: 0, baseSequence: 1 });
    await run.topic.appendBatch(0, later);
    for (let i = 0; i < 250; i++) await run.put(`key ${i}=${i}`);
    fileSystem.failNext({ op: "write", code: "EIO", path: ".log" }); // another segment begins, and nothing is written down
    await expect(run.put("refused=1")).rejects.toEqual(code("LOG_FAILED"));
    fileSystem.heal();
    for (let open = true; open; )
      open = await run.log.sync("t").then(
        () => false,
        () => true,
      );
    await run.log.maintain();
    expect((await batchesOf(run)).map(({ offset }) => offset)).not.toContain(abort);
    const again = await openRun(config, { ...run.options, fileSystem: fileSystem.kill() });
    expect(await again.topic.openTransactions(0)).toEqual([]);
    await again.log.close();
  });
});
