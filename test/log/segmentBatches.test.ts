import { writeFile } from "node:fs/promises";
import path from "node:path";
import { describe, expect, test } from "vitest";
import type { FileSystem } from "../../src/base/fileSystem.ts";
import { nodeFileSystem } from "../../src/base/nodeFileSystem.ts";
import { Random } from "../../src/base/random.ts";
import { logFileName } from "../../src/log/embedded/segment/names.ts";
import { SegmentBatches } from "../../src/log/embedded/segment/segmentBatches.ts";
import { encodeBatch } from "../../src/record/batch.ts";
import { baseOffsetAt, lastOffsetAt } from "../../src/record/batchHeader.ts";
import { markBatch } from "../../src/record/batchMark.ts";
import { code } from "./compactedTopic.ts";
import { record, temporaryFolder } from "./support.ts";

const READ_BYTES_MAX = 512 * 1024;

function batchesOf(valueBytes: readonly number[]): Buffer[] {
  let baseOffset = 0;
  return valueBytes.map((bytes) => {
    const batch = encodeBatch([record("x".repeat(bytes)), record("y")], { baseOffset });
    markBatch(batch, 0, false);
    baseOffset += 2;
    return batch;
  });
}

/** The files of the folder, and the longest read of them. */
function watching(): { readonly fileSystem: FileSystem; longest: number } {
  const seen = {
    longest: 0,
    fileSystem: {
      ...nodeFileSystem,
      open: async (name: string, mode: "read" | "write" | "create") => {
        const file = await nodeFileSystem.open(name, mode);
        const read = file.read.bind(file);
        file.read = (into, offset, length, position) => {
          seen.longest = Math.max(seen.longest, length);
          return read(into, offset, length, position);
        };
        return file;
      },
    } as FileSystem,
  };
  return seen;
}

async function walk(folder: string, count: number, fileSystem: FileSystem = nodeFileSystem): Promise<Buffer[]> {
  const batches = await SegmentBatches.open(fileSystem, folder, 0, 2 * count);
  const found: Buffer[] = [];
  try {
    for (;;) {
      if (batches.next()) found.push(Buffer.from(batches.bytes.subarray(batches.at, batches.end)));
      else if ((await batches.fill()) === 0) return found;
    }
  } finally {
    await batches.close();
  }
}

describe("the batches of a segment", () => {
  test.each([1, 2, 3])("come whole and in order, small and large ones, by reads that are never long (seed %i)", async (seed) => {
    const random = new Random(seed);
    const folder = await temporaryFolder();
    const sizes = Array.from({ length: 40 }, () => random.below(random.pick([100, 100_000, 700_000, 3_000_000])));
    const written = batchesOf([...sizes, 2 * READ_BYTES_MAX, 10, READ_BYTES_MAX]);
    await writeFile(path.join(folder, logFileName(0)), Buffer.concat(written));
    const seen = watching();
    const found = await walk(folder, written.length, seen.fileSystem);
    expect(found.map((one) => [baseOffsetAt(one, 0), lastOffsetAt(one, 0)])).toEqual(written.map((_, i) => [2 * i, 2 * i + 1]));
    expect(found.every((one, i) => one.equals(written[i] as Buffer))).toBe(true);
    expect(seen.longest).toBe(READ_BYTES_MAX);
  });

  test("are refused where a bit of a large one is flipped, or its end is missing", async () => {
    const folder = await temporaryFolder();
    const file = path.join(folder, logFileName(0));
    const written = batchesOf([10, 2_000_000, 10, 1_500_000]);
    const whole = Buffer.concat(written);
    const [small, large] = written as [Buffer, Buffer];
    const second = small.length + large.length + (written[2] as Buffer).length;
    // in the part that came with the batch before, in each read, and in the last byte
    for (const at of [
      small.length + 40,
      300_000,
      600_000,
      1_200_000,
      1_900_000,
      small.length + large.length - 1,
      second + 100,
      whole.length - 1,
    ]) {
      const flipped = Buffer.from(whole);
      flipped[at] = (flipped[at] as number) ^ 16;
      await writeFile(file, flipped);
      await expect(walk(folder, written.length), `byte ${at}`).rejects.toEqual(code("LOG_CORRUPT"));
    }
    for (const length of [whole.length - 1, second + 600_000, second + 60, second + 1]) {
      await writeFile(file, whole.subarray(0, length));
      await expect(walk(folder, written.length), `${length} bytes`).rejects.toEqual(code("LOG_CORRUPT"));
    }
    await writeFile(file, whole);
    expect((await walk(folder, written.length)).length).toBe(4);
  });
});
