import { expect, test } from "vitest";
import { ByteBudget } from "../../src/base/byteBudget.ts";
import type { File } from "../../src/base/fileSystem.ts";
import { Random } from "../../src/base/random.ts";
import { NextPiece } from "../../src/log/embedded/reading/nextPiece.ts";

const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 1e9));
const FILE_BYTES = 5_000;

interface SlowFile extends File {
  reading: number;
  fails: boolean;
}

/** Reads take turns of the loop, and now and then they fail. */
function slowFile(random: Random, content: Buffer): SlowFile {
  const never = (): Promise<never> => Promise.reject(new Error("a piece is only read"));
  const file: SlowFile = {
    reading: 0,
    fails: false,
    async read(into: Uint8Array, offset: number, length: number, position: number): Promise<number> {
      file.reading++;
      for (let turn = random.below(3); turn > 0; turn--) await new Promise((resolve) => setImmediate(resolve));
      file.reading--;
      if (file.fails) throw new Error("EIO");
      return content.copy(into, offset, position, Math.min(content.length, position + length));
    },
    bytes: async () => content.length,
    close: async () => undefined,
    write: never,
    writeSynced: never,
    sync: never,
    truncate: never,
  };
  return file;
}

test(`pieces are what is in their file, whatever was begun, given back or failed before (SEED=${seed})`, async () => {
  const random = new Random(seed);
  const files = [1, 2].map((fill) => Buffer.from(Array.from({ length: FILE_BYTES }, (_, n) => (n * 7 + fill * 31) & 255)));
  const slow = files.map((content) => slowFile(random, content));
  const budget = new ByteBudget("read ahead", 500);
  const pieces = new NextPiece(budget);
  /** What somebody has, and nobody may write to. */
  const held: { bytes: Buffer; was: string }[] = [];
  let taken = 0;
  let position = 0;
  for (let n = 0; n < 3_000; n++) {
    const which = random.below(20) === 0 ? 1 : 0;
    const file = slow[which] as (typeof slow)[number];
    const length = random.pick([1, 100, 100, 100, 700]);
    if (random.below(5) === 0) position = random.below(FILE_BYTES - length);
    file.fails = random.below(30) === 0;
    const expected = files[which]?.toString("latin1", position, Math.min(FILE_BYTES, position + length));
    const piece = await pieces.read(file, position, length).catch((error: Error) => error);
    file.fails = false;
    for (const { bytes, was } of held) expect(bytes.toString("latin1"), `step ${n}`).toBe(was);
    if (piece instanceof Error) {
      expect(piece.message).toBe("EIO");
      continue;
    }
    const bytes = pieces.lend(piece, piece.length);
    expect(bytes.toString("latin1"), `step ${n}`).toBe(expected);
    held.push({ bytes, was: expected as string });
    position = Math.min(position + length, FILE_BYTES - 700);
    if (random.below(3) > 0) {
      const known = random.below(2) === 0 ? 0 : random.below(length + 1);
      pieces.begin(file, position, length, (files[which] as Buffer).subarray(position, position + known));
      taken++;
      expect(budget.used).toBeLessThanOrEqual(500 + 700);
    }
    if (held.length > 3) {
      const back = held.shift() as (typeof held)[number];
      if (random.below(4) > 0) pieces.giveBack(back.bytes);
      if (random.below(4) === 0) pieces.giveBack(back.bytes);
    }
    if (random.below(10) === 0) {
      await pieces.letGo();
      expect(slow.map(({ reading }) => reading)).toEqual([0, 0]); // its file may be closed now
    }
  }
  await pieces.letGo();
  expect(budget.used).toBe(0);
  expect(taken).toBeGreaterThan(100);
});
