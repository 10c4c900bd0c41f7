import { describe, expect, test } from "vitest";
import { Random } from "../../src/base/random.ts";
import { encodeBatch, records } from "../../src/record/batch.ts";
import {
  attributesAt,
  BatchAttribute,
  baseOffsetAt,
  baseSequenceAt,
  baseTimestampAt,
  countAt,
  lastOffsetAt,
  maxTimestampAt,
  producerEpochAt,
  producerIdAt,
} from "../../src/record/batchHeader.ts";
import { type BatchFate, FilteredBatch } from "../../src/record/filterBatch.ts";
import type { NewRecord } from "../../src/record/record.ts";
import { validateBatch } from "../../src/record/validateBatch.ts";

function batchOf(random: Random): Buffer {
  const made = Array.from({ length: 1 + random.below(random.pick([3, 200])) }, (): NewRecord => {
    const bytes = (max: number): Buffer | null => (random.below(5) === 0 ? null : Buffer.alloc(random.below(max), "x"));
    const headers = random.below(3) === 0 ? [{ key: "h", value: bytes(20) }] : [];
    return { key: bytes(30), value: bytes(random.pick([10, 500])), headers, timestamp: random.below(2) * 1e12 + random.below(1e6) };
  });
  const producer = { producerId: 5n, producerEpoch: 3, baseSequence: 70 };
  return encodeBatch(made, { baseOffset: 1000 + random.below(1000), ...(random.below(2) === 0 && producer) });
}

interface Asked {
  readonly keeps: (offset: number) => boolean | Generator<undefined, boolean>;
  readonly emptyStays?: boolean;
  readonly deleteHorizon?: number;
}

function filtered(batch: Buffer, { keeps, emptyStays = false, deleteHorizon }: Asked): { fate: BatchFate; bytes: Buffer; turns: number } {
  const filter = new FilteredBatch();
  const shifted = Buffer.concat([Buffer.alloc(7), batch, Buffer.alloc(5)]); // it lies anywhere in a buffer
  const turns = filter.filter(shifted, 7, {
    keeps: ({ offset }) => keeps(offset),
    isMortal: ({ valueBytes }) => valueBytes < 0,
    emptyStays,
    deleteHorizon,
  });
  let count = 0;
  for (let turn = turns.next(); ; turn = turns.next(), count++)
    if (turn.done === true) return { fate: turn.value, bytes: Buffer.from(filter.bytes), turns: count };
}

const plain = (bytes: Buffer) =>
  [...records(bytes)].map((one) => ({ ...one, key: one.key && String(one.key), value: one.value && String(one.value) }));
const frame = (bytes: Buffer) => [baseOffsetAt, lastOffsetAt, producerIdAt, producerEpochAt, baseSequenceAt].map((of) => of(bytes, 0));

describe("records taken out of a batch", () => {
  test.each([1, 2, 3, 4])("leave the others as they were, and the batch's offsets and producer (seed %i)", (seed) => {
    const random = new Random(seed);
    for (let round = 0; round < 100; round++) {
      const batch = batchOf(random);
      const share = random.pick([0, 1, 5, 9, 10]);
      const stay = new Set(
        plain(batch)
          .map(({ offset }) => offset)
          .filter(() => random.below(10) < share),
      );
      const deleteHorizon = random.below(2) === 0 ? 2e12 : undefined;
      const { fate, bytes } = filtered(batch, {
        keeps: (offset) => stay.has(offset),
        emptyStays: true,
        ...(deleteHorizon && { deleteHorizon }),
      });
      const expected = plain(batch).filter(({ offset }) => stay.has(offset));
      const marks = deleteHorizon !== undefined && expected.some(({ value }) => value === null);
      if (stay.size === 0) expect(fate).toBe("empty");
      else expect(fate).toBe(stay.size === countAt(batch, 0) && !marks ? "same" : "changed");
      if (fate === "same") continue;
      expect(validateBatch(bytes, 0, bytes.length)).toBe(undefined);
      expect(plain(bytes)).toEqual(expected);
      expect(frame(bytes)).toEqual(frame(batch));
      expect(countAt(bytes, 0)).toBe(stay.size);
      const latest = stay.size === 0 ? maxTimestampAt(batch, 0) : Math.max(...expected.map(({ timestamp }) => timestamp));
      expect(maxTimestampAt(bytes, 0)).toBe(latest);
      expect((attributesAt(bytes, 0) & BatchAttribute.deleteHorizon) !== 0).toBe(marks);
      if (marks) expect(baseTimestampAt(bytes, 0)).toBe(2e12);
      if (marks) expect(filtered(bytes, { keeps: () => true, deleteHorizon: 3e12 }).fate).toBe("same"); // set once
      if (stay.size === 0) expect(filtered(bytes, { keeps: () => true, emptyStays: true }).fate).toBe("same");
      expect(filtered(bytes, { keeps: () => false }).fate).toBe("gone");
    }
  });

  test("leave the time of append to those of a batch that has it", () => {
    const batch = encodeBatch([1, 2, 3].map((n) => ({ key: null, value: n === 2 ? null : Buffer.of(n), headers: [], timestamp: n })));
    batch.writeInt16BE(BatchAttribute.logAppendTime, 21);
    const { bytes } = filtered(batch, { keeps: (offset) => offset < 2, deleteHorizon: 50 });
    expect(plain(bytes).map(({ offset, timestamp }) => [offset, timestamp])).toEqual([
      [0, 3],
      [1, 3],
    ]);
  });

  test("of large ones leave the others whole, with a turn for everyone else after each 512 KiB that is copied or summed", () => {
    const piece = 512 * 1024;
    const value = (n: number, bytes: number): NewRecord => ({
      key: Buffer.of(n),
      value: Buffer.alloc(bytes, n),
      headers: [],
      timestamp: 1e6 + n,
    });
    const tombstone = { key: Buffer.alloc(3 * piece, "k"), value: null, headers: [], timestamp: 5 };
    const batch = encodeBatch([
      value(0, 10),
      value(1, 4 * piece),
      value(2, 10),
      tombstone,
      ...[4, 5, 6, 7, 8, 9].map((n) => value(n, piece / 2)),
    ]);
    const all = plain(batch);
    for (const gone of [[], [0], [1], [2], [0, 2, 9], [3], [4, 6], [0, 1, 2, 4, 5, 6, 7, 8, 9]]) {
      for (const deleteHorizon of [undefined, 2e12]) {
        const keeps = (offset: number) => !gone.includes(offset);
        const { fate, bytes, turns } = filtered(batch, { keeps, ...(deleteHorizon && { deleteHorizon }) });
        const marks = deleteHorizon !== undefined && !gone.includes(3);
        expect(fate).toBe(gone.length === 0 && !marks ? "same" : "changed");
        if (fate === "same") continue;
        expect(validateBatch(bytes, 0, bytes.length)).toBe(undefined);
        expect(plain(bytes)).toEqual(all.filter(({ offset }) => keeps(offset)));
        const passes = marks ? 3 : 2; // copied, with other times once more, summed
        expect(turns, String(gone)).toBeGreaterThanOrEqual(passes * (Math.floor(bytes.length / piece) - 2));
      }
    }
    expect(filtered(batch, { keeps: () => true }).turns).toBeGreaterThanOrEqual(4); // looked at only
  });

  test("may take turns to be decided on", () => {
    const batch = batchOf(new Random(5));
    function* keepsOdd(offset: number): Generator<undefined, boolean> {
      yield;
      return offset % 2 === 1;
    }
    const { bytes, turns } = filtered(batch, { keeps: keepsOdd, emptyStays: true });
    expect(plain(bytes)).toEqual(plain(batch).filter(({ offset }) => offset % 2 === 1));
    expect(turns).toBeGreaterThanOrEqual(countAt(batch, 0));
  });
});
