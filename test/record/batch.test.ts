import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { MillraceError } from "../../src/base/errors.ts";
import { batchPositions, encodeBatch, records } from "../../src/record/batch.ts";
import { BatchBuilder } from "../../src/record/batchBuilder.ts";
import * as header from "../../src/record/batchHeader.ts";
import type { NewRecord } from "../../src/record/record.ts";
import { RecordCursor } from "../../src/record/recordCursor.ts";
import { validateBatch } from "../../src/record/validateBatch.ts";

const bytes = fc.uint8Array({ maxLength: 200 }).map((array) => Buffer.from(array));
const maybeBytes = fc.option(bytes, { nil: null });
const anyRecord: fc.Arbitrary<NewRecord> = fc.record({
  key: maybeBytes,
  value: maybeBytes,
  headers: fc.array(fc.record({ key: fc.string({ maxLength: 20, unit: "grapheme" }), value: maybeBytes }), { maxLength: 4 }),
  timestamp: fc.oneof(fc.integer(), fc.integer({ min: 0, max: 4e12 }), fc.constantFrom(-(2 ** 50), 2 ** 50)),
});
const someRecords = fc.array(anyRecord, { minLength: 1, maxLength: 30 });

const plain = (record: NewRecord) => ({
  key: record.key && Buffer.from(record.key).toString("hex"),
  value: record.value && Buffer.from(record.value).toString("hex"),
  headers: record.headers.map(({ key, value }) => [key, value && Buffer.from(value).toString("hex")]),
  timestamp: record.timestamp,
});

/** Everything that a reader does with bytes from outside. */
function readAll(from: Buffer): number {
  let count = 0;
  for (let at = 0; at < from.length; at += header.batchBytesAt(from, at)) {
    const problem = validateBatch(from, at, from.length);
    if (problem !== undefined) throw problem;
    count++;
  }
  for (const record of records(from)) count += record.headers.length;
  return count;
}

describe("a record batch", () => {
  test("comes out as it went in", () => {
    fc.assert(
      fc.property(someRecords, fc.nat(), fc.bigInt({ min: 0n, max: 2n ** 63n - 1n }), (input, baseOffset, producerId) => {
        const batch = encodeBatch(input, { baseOffset, producerId, producerEpoch: 7, baseSequence: 99 });
        expect(validateBatch(batch, 0, batch.length)).toBeUndefined();
        expect(header.producerIdAt(batch, 0)).toBe(producerId);
        expect(header.producerEpochAt(batch, 0)).toBe(7);
        expect(header.baseSequenceAt(batch, 0)).toBe(99);
        expect(header.lastOffsetAt(batch, 0)).toBe(baseOffset + input.length - 1);
        expect(header.maxTimestampAt(batch, 0)).toBe(Math.max(...input.map((record) => record.timestamp)));
        const output = [...records(batch)];
        expect(output.map(plain)).toEqual(input.map(plain));
        expect(output.map((record) => record.offset)).toEqual(input.map((_, index) => baseOffset + index));
      }),
    );
  });

  test("is byte for byte what kafkajs 2.2.4 encodes", () => {
    const timestamp = 1_600_000_000_000;
    const batch = encodeBatch(
      [
        { key: Buffer.from("SFO"), value: Buffer.from("first"), headers: [{ key: "trace", value: Buffer.from("abc") }], timestamp },
        { key: null, value: Buffer.alloc(70, "x"), headers: [], timestamp: timestamp - 5 },
        {
          key: Buffer.from("ключ"),
          value: null,
          headers: [
            { key: "a", value: Buffer.from("1") },
            { key: "b", value: Buffer.from("2") },
          ],
          timestamp: timestamp + 100_000,
        },
      ],
      { producerId: 7_777_777_777_777n, producerEpoch: 3, baseSequence: 42 },
    );
    expect(batch.toString("hex")).toBe(KAFKAJS_BATCH);
  });

  test("has each header field where Kafka has it", () => {
    const value = Buffer.from("v");
    const batch = encodeBatch([{ key: null, value, headers: [], timestamp: 2 ** 40 + 1 }], {
      baseOffset: 2 ** 33 + 5,
    });
    expect(batch.readBigInt64BE(0)).toBe(2n ** 33n + 5n);
    expect(batch.readInt32BE(8)).toBe(batch.length - 12);
    expect(batch.readInt32BE(12)).toBe(0);
    expect(batch[16]).toBe(2);
    expect(batch.readInt16BE(21)).toBe(0);
    expect(batch.readInt32BE(23)).toBe(0);
    expect(batch.readBigInt64BE(27)).toBe(2n ** 40n + 1n);
    expect(batch.readBigInt64BE(35)).toBe(2n ** 40n + 1n);
    expect(batch.readBigInt64BE(43)).toBe(-1n);
    expect(batch.readInt16BE(51)).toBe(-1);
    expect(batch.readInt32BE(53)).toBe(-1);
    expect(batch.readInt32BE(57)).toBe(1);
    // length 7, attributes, timestamp delta 0, offset delta 0, no key, value of 1 byte, no headers
    expect([...batch.subarray(61)]).toEqual([14, 0, 0, 0, 1, 2, "v".charCodeAt(0), 0]);
  });

  test("that lost its end is truncated, at every byte", () => {
    const batch = encodeBatch([
      { key: Buffer.from("key"), value: Buffer.from("value"), headers: [{ key: "h", value: null }], timestamp: 1 },
      { key: null, value: null, headers: [], timestamp: 2 },
    ]);
    for (let length = 0; length < batch.length; length++) {
      expect(validateBatch(batch, 0, length)?.code).toBe("BATCH_TRUNCATED");
      if (length > 0) expect(() => readAll(Buffer.from(batch.subarray(0, length)))).toThrow(MillraceError);
    }
  });

  test("with one bit turned over is found out", () => {
    const batch = encodeBatch([{ key: Buffer.from("key"), value: Buffer.from("value"), headers: [], timestamp: 1 }]);
    for (let bit = 8 * 16; bit < batch.length * 8; bit++) {
      const turned = Buffer.from(batch);
      turned[bit >> 3] = (turned[bit >> 3] as number) ^ (1 << (bit & 7));
      expect(validateBatch(turned, 0, turned.length)?.code).toBe("BATCH_CORRUPT");
    }
  });

  test("of hostile bytes throws our errors only, and is left after a bounded time", () => {
    const mutation = fc.record({ at: fc.nat(), value: fc.nat(255) });
    fc.assert(
      fc.property(someRecords, fc.array(mutation, { maxLength: 8 }), fc.nat(), (input, mutations, cut) => {
        const batch = encodeBatch(input);
        for (const { at, value } of mutations) batch[at % batch.length] = value;
        const hostile = Buffer.from(batch.subarray(0, batch.length - (cut % 4 === 0 ? cut % batch.length : 0)));
        try {
          for (const record of records(hostile)) plain(record);
        } catch (error) {
          expect(error).toBeInstanceOf(MillraceError);
          expect(["RECORD_CORRUPT", "BATCH_CORRUPT", "BATCH_TRUNCATED", "UNSUPPORTED_COMPRESSION"]).toContain(
            (error as MillraceError).code,
          );
        }
      }),
      { numRuns: 3000 },
    );
  });

  test("never gives a view past its own end, though more bytes follow it", () => {
    const first = encodeBatch([{ key: null, value: Buffer.from("short"), headers: [], timestamp: 0 }]);
    const secret = encodeBatch([{ key: null, value: Buffer.from("secret"), headers: [], timestamp: 0 }]);
    const both = Buffer.concat([first, secret]);
    both[first.length - 7] = 60; // the value's length: 30 bytes
    expect(() => [...records(both)]).toThrow(expect.objectContaining({ code: "RECORD_CORRUPT" }));
  });

  test("of random bytes throws our errors only", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 300 }), (array) => {
        const hostile = Buffer.from(array);
        if (hostile.length > 16) hostile[16] = 2;
        expect(() => readAll(hostile)).toThrow(MillraceError);
      }),
    );
  });

  test("that is compressed is refused by name", () => {
    const batch = encodeBatch([{ key: null, value: null, headers: [], timestamp: 0 }]);
    batch.writeInt16BE(4, 21);
    expect(() => [...records(batch)]).toThrow(
      expect.objectContaining({ code: "UNSUPPORTED_COMPRESSION", message: expect.stringContaining("zstd") as unknown }),
    );
  });

  test("of transaction markers is passed over", () => {
    const marker = encodeBatch([{ key: Buffer.alloc(4), value: null, headers: [], timestamp: 0 }]);
    marker.writeInt16BE(1 << 5, 21);
    const data = encodeBatch([{ key: null, value: Buffer.from("data"), headers: [], timestamp: 0 }], { baseOffset: 1 });
    expect([...records(Buffer.concat([marker, data]))].map((record) => record.offset)).toEqual([1]);
  });
});

describe("a batch builder", () => {
  test("puts batches back to back, as encodeBatch does alone, and is reusable", () => {
    const builder = new BatchBuilder(16);
    fc.assert(
      fc.property(fc.array(someRecords, { minLength: 1, maxLength: 5 }), (batches) => {
        builder.reset();
        let offset = 0;
        const expected: Buffer[] = [];
        const positions: number[] = [];
        for (const batch of batches) {
          expected.push(encodeBatch(batch, { baseOffset: offset }));
          for (const record of batch) {
            const bound = BatchBuilder.boundOf(record);
            expect(builder.append(record, offset++)).toBeLessThanOrEqual(bound + header.BATCH_HEADER_BYTES);
          }
          positions.push(builder.endBatch());
        }
        expect(builder.bytes().equals(Buffer.concat(expected))).toBe(true);
        expect([...batchPositions(builder.bytes())]).toEqual(positions);
      }),
    );
  });

  test("is not spoiled by a record that it refuses", () => {
    const builder = new BatchBuilder();
    const good = { key: null, value: Buffer.from("good"), headers: [], timestamp: 5 };
    for (const timestamp of [Number.NaN, 0.5, 2 ** 53, Number.POSITIVE_INFINITY]) {
      expect(() => builder.append({ ...good, timestamp }, 0)).toThrow(/timestamp/);
    }
    builder.append(good, 0);
    builder.endBatch();
    expect(builder.bytes().equals(encodeBatch([good]))).toBe(true);
  });

  test("gives the memory of a burst back", () => {
    const builder = new BatchBuilder();
    builder.append({ key: null, value: Buffer.alloc(6 << 20), headers: [], timestamp: 0 }, 0);
    builder.endBatch();
    const { buffer } = builder.bytes();
    builder.reset();
    builder.append({ key: null, value: null, headers: [], timestamp: 0 }, 0);
    builder.endBatch();
    expect(builder.bytes().buffer.byteLength).toBeLessThan(buffer.byteLength);
  });
});

test("a cursor walks all batches without an object a record", () => {
  const input = Array.from({ length: 10 }, (_, i) => ({
    key: Buffer.from(`k${i}`),
    value: Buffer.from(`v${i}`),
    headers: [],
    timestamp: i,
  }));
  const both = Buffer.concat([encodeBatch(input.slice(0, 4)), encodeBatch(input.slice(4), { baseOffset: 4 })]);
  const cursor = new RecordCursor(both);
  const seen: string[] = [];
  while (cursor.next()) seen.push(`${cursor.offset}:${cursor.key()}:${cursor.value()}:${cursor.timestamp}`);
  expect(seen).toEqual(input.map((_, i) => `${i}:k${i}:v${i}:${i}`));
});

/** Printed by kafkajs 2.2.4 from the same records. */
const KAFKAJS_BATCH = [
  "0000000000000000000000b20000000002394ce1e200000000000200000174876e800000000174877006a000000712e7ae7c7100030000002a000000",
  "03300000000653464f0a6669727374020a7472616365066162639a01000902018c017878787878787878787878787878787878787878787878787878",
  "7878787878787878787878787878787878787878787878787878787878787878787878787878787878787878003000c09a0c0410d0bad0bbd18ed187",
  "01040261023102620232",
].join("");
