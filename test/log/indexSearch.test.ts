import { readdir, readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { describe, expect, test } from "vitest";
import { nodeFileSystem } from "../../src/base/nodeFileSystem.ts";
import { Random } from "../../src/base/random.ts";
import type { EmbeddedTopic } from "../../src/log/contract/embeddedLog.ts";
import { openEmbeddedLog } from "../../src/log/embedded/embeddedLog.ts";
import { IndexFile } from "../../src/log/embedded/segment/indexFile.ts";
import { findInIndex, lastInIndex } from "../../src/log/embedded/segment/indexSearch.ts";
import { offsetIndexLayout } from "../../src/log/embedded/segment/offsetIndex.ts";
import { timeIndexLayout } from "../../src/log/embedded/segment/timeIndex.ts";
import { encodeBatch } from "../../src/record/batch.ts";
import { baseOffsetAt } from "../../src/record/batchHeader.ts";
import { changed } from "../support/changed.ts";
import { logOptions, record, temporaryFolder } from "./support.ts";

const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 1e9));

/** Counts what is read. */
class CountingFileSystem {
  bytes = 0;

  readonly fileSystem = changed(nodeFileSystem, {
    open: async (name, mode) => {
      const file = await nodeFileSystem.open(name, mode);
      const read = file.read.bind(file);
      file.read = (into, offset, length, position) => {
        this.bytes += length;
        return read(into, offset, length, position);
      };
      return file;
    },
  });
}

describe("an entry of an index", () => {
  test(`is found as a search through all of them finds it, however they are spread (SEED=${seed})`, async () => {
    const random = new Random(seed);
    const folder = await temporaryFolder();
    /** Steps from entry to entry: even, a few of them huge, growing without end. */
    const spreads = [() => 1 + random.below(9), () => (random.below(500) === 0 ? 1_000_000 : 1), (n: number) => 1 + Math.floor(1.001 ** n)];
    for (const [kind, spread] of spreads.entries()) {
      for (const layout of [offsetIndexLayout(1000), timeIndexLayout(1000)]) {
        for (const count of [0, 1, 2, 3, 511, 512, 513, 9_000]) {
          const name = path.join(folder, `${kind}-${layout.entryBytes}-${count}`);
          const entries: { first: number; second: number }[] = [];
          for (let n = 0, first = 1000, second = 1000; n < count; n++) {
            entries.push({ first: (first += spread(n)), second: (second += 1 + random.below(5)) });
          }
          const file = await IndexFile.open(nodeFileSystem, name, layout, 0);
          for (const { first, second } of entries) file.add(first, second);
          await file.sync();
          await file.close();
          const asked = [
            0,
            1000,
            1001,
            ...Array.from({ length: 8 }, () => random.pick(entries.length > 0 ? entries : [{ first: 7, second: 7 }]).first),
          ];
          for (const atMost of asked.flatMap((first) => [first - 1, first, first + 1, first + 1_000_000_000])) {
            const expected = entries.findLast(({ first }) => first <= atMost);
            const [from, to] = [1000, entries.at(-1)?.first ?? 1000];
            // nothing known of it, what is so, and what is not
            for (const about of [undefined, { from, to }, { from: to, to: from }, { from: random.below(to), to: random.below(2 * to) }]) {
              const found = await findInIndex(nodeFileSystem, name, layout, atMost, about);
              const said = `${name} at most ${atMost}, ${JSON.stringify(about)}`;
              expect(found && { first: found.first, second: found.second }, said).toEqual(expected);
            }
          }
          const last = await lastInIndex(nodeFileSystem, name, layout);
          expect(last && { first: last.first, second: last.second }).toEqual(entries.at(-1));
        }
      }
    }
  });

  test("is found in a few blocks of an index of 2 MiB", async () => {
    const name = path.join(await temporaryFolder(), "index");
    const file = await IndexFile.open(nodeFileSystem, name, offsetIndexLayout(0), 0);
    for (let n = 1; n <= 262_144; n++) file.add(n * 40 + (n % 7), n * 4096);
    await file.sync();
    await file.close();
    for (const atMost of [50, 1_000_000, 10_000_000]) {
      const fileSystem = new CountingFileSystem();
      expect((await findInIndex(fileSystem.fileSystem, name, offsetIndexLayout(0), atMost))?.first).toBeLessThanOrEqual(atMost);
      expect(fileSystem.bytes).toBeLessThan(3 * 4096);
      const knowing = new CountingFileSystem();
      await findInIndex(knowing.fileSystem, name, offsetIndexLayout(0), atMost, { from: 0, to: 262_144 * 40 });
      expect(knowing.bytes).toBe(4096);
    }
  });

  test("there is none without a file", async () => {
    expect(await findInIndex(nodeFileSystem, "/nowhere/index", offsetIndexLayout(0), 5)).toBeUndefined();
    expect(await lastInIndex(nodeFileSystem, "/nowhere/index", offsetIndexLayout(0))).toBeUndefined();
  });
});

describe("an index with wrong bytes in it", () => {
  test(`misleads no search, by offset or by time (SEED=${seed})`, async () => {
    const random = new Random(seed);
    const options = logOptions(await temporaryFolder());
    const log = await openEmbeddedLog({ ...options, defaults: { ...options.defaults, segmentBytes: 1 << 22 } });
    await log.createTopic("t");
    const topic = log.topic("t") as EmbeddedTopic;
    const timestamps: number[] = [];
    const value = "x".repeat(700);
    // a batch in five is late, so that by time a search is not one by offset
    const appended = Array.from({ length: 8_000 }, (_, n) => {
      timestamps.push(random.below(5) === 0 ? Math.max(0, n * 10 - 500) : n * 10);
      return topic.appendBatch(0, encodeBatch([record(value, { timestamp: timestamps[n] as number })]));
    });
    await Promise.all(appended);
    const folder = path.join(options.directory, "t-0");
    const names = (await readdir(folder)).filter((name) => name.endsWith("index"));
    expect(names.length).toBe(4);
    const whole = new Map(await Promise.all(names.map(async (name) => [name, await readFile(path.join(folder, name))] as const)));
    for (let round = 0; round < 20; round++) {
      for (const [name, bytes] of whole) {
        const bad = Buffer.from(bytes);
        const entryBytes = name.endsWith(".timeindex") ? 12 : 8;
        if (round % 3 === 0) for (let n = 0; n < 2_000; n++) bad[random.below(bad.length)] = random.below(256);
        if (round % 3 === 1) bad.copy(bad, 0, random.below(bad.length / entryBytes) * entryBytes);
        // each entry leads to where the next one should: all of them ascend
        if (round % 3 === 2) {
          for (let end = 2 * entryBytes; end <= bad.length; end += entryBytes) bad.copy(bad, end - entryBytes - 4, end - 4, end);
        }
        await writeFile(path.join(folder, name), round === 0 ? bytes : bad);
      }
      const reader = await log.openReader(topic.description.partitions[0] as never);
      for (let n = 0; n < 5; n++) {
        const offset = random.below(timestamps.length);
        expect(baseOffsetAt(await reader.read(offset, 1), 0)).toBe(offset);
        const wanted = random.below(timestamps.length * 10);
        const expected = timestamps.findIndex((timestamp) => timestamp >= wanted);
        expect((await reader.offsetForTimestamp(wanted))?.offset ?? -1, `round ${round}, timestamp ${wanted}`).toBe(expected);
      }
      await reader.close();
    }
    await log.close();
  });
});
