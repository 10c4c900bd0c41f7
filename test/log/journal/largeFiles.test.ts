import { expect, test } from "vitest";
import { Random } from "../../../src/base/random.ts";
import { SimulatedFileSystem } from "../../support/simulatedFileSystem.ts";
import { append, open, patch } from "./opened.ts";

const MiB = 1024 * 1024;
const fileBytes = 8 * MiB;
const file = "/journal/000000000001.journal";
const seed = 5;

/** Messages of all sizes, one of them larger than what a start reads at once. Returns their sizes and where they are. */
async function fill(fs: SimulatedFileSystem): Promise<{ readonly sizes: readonly number[]; readonly positions: readonly number[] }> {
  const random = new Random(seed);
  const { journal } = await open(fs, "/journal", fileBytes);
  const sizes: number[] = [];
  const positions: number[] = [];
  for (let bytes = 0; bytes < 5 * MiB; bytes += sizes.at(-1) as number) {
    const kind = random.below(40);
    const size = sizes.length === 500 ? 1.5 * MiB : random.below(kind === 0 ? 300_000 : kind < 5 ? 30_000 : 2000);
    positions.push(append(journal, sizes.length, Buffer.alloc(size, sizes.length)));
    sizes.push(size);
    if (random.below(50) === 0) await journal.sync();
  }
  await journal.close();
  return { sizes, positions };
}

test(`a start meets every message of a file that it reads in several parts (seed ${seed})`, async () => {
  const fs = new SimulatedFileSystem({ seed });
  const { sizes } = await fill(fs);
  const { journal, replayed, errors } = await open(fs, "/journal", fileBytes);
  await journal.close();
  expect(errors).toEqual([]);
  expect(sizes.length).toBeGreaterThan(500);
  expect(replayed.messages.map(({ contentBytes }) => contentBytes)).toEqual(sizes);
});

test(`of many messages that are checked together the start names the one that is damaged, and has the others (seed ${seed})`, async () => {
  const random = new Random(seed);
  for (let round = 0; round < 5; round++) {
    const fs = new SimulatedFileSystem({ seed });
    const { sizes, positions } = await fill(fs);
    const damaged = random.below(sizes.length - 100);
    const at = (positions[damaged] as number) - fileBytes;
    const content = at + 40 + random.below(Math.max(1, sizes[damaged] as number));
    await patch(fs, file, content, Buffer.of(0x5a ^ (damaged & 0xff)));
    const { journal, replayed, errors } = await open(fs, "/journal", fileBytes);
    await journal.close();
    expect(errors).toMatchObject([{ file, position: at }]);
    expect(replayed.messages.map(({ contentBytes }) => contentBytes)).toEqual(sizes.filter((_, n) => n !== damaged));
  }
});
