import { describe, expect, test } from "vitest";
import type { PartitionDescriptor, PartitionedLog, PartitionReader } from "../../src/log/contract/partitionedLog.ts";
import { records } from "../../src/record/batch.ts";
import { readFrom, record, valuesOf } from "./support.ts";

const code = (wanted: string): unknown => expect.objectContaining({ code: wanted });

/** Appends the values to partition 0 of "events", in a transaction that ends so, or not at all. One transaction after the other. */
export type Transact = (log: PartitionedLog, values: readonly string[], outcome: "commit" | "abort" | "open") => Promise<void>;

/**
 * What every PartitionedLog does. `makeLog` gives an empty one; its cleaning up is its own affair (onTestFinished).
 * @param transact how somebody beside the portable contract writes transactions into it; without it there are none.
 */
export function partitionedLogConformance(name: string, makeLog: () => Promise<PartitionedLog>, transact?: Transact): void {
  const producer = { name: "pipeline:test", epoch: 0 };

  async function withTopic(partitions = 1): Promise<{ log: PartitionedLog; readers: PartitionReader[] }> {
    const log = await makeLog();
    const { partitions: descriptors } = await log.createTopic("events", { partitions });
    return { log, readers: await Promise.all(descriptors.map((descriptor) => log.openReader(descriptor))) };
  }

  describe(name, () => {
    test("a topic is described as it was created", async () => {
      const log = await makeLog();
      expect(await log.describeTopic("events")).toBeUndefined();
      const created = await log.createTopic("events", { partitions: 3, segmentBytes: 5000 });
      expect(created.name).toBe("events");
      expect(created.config).toMatchObject({ partitions: 3, segmentBytes: 5000 });
      expect(created.partitions.map(({ topic, partition }) => `${topic}-${partition}`)).toEqual(["events-0", "events-1", "events-2"]);
      expect((await log.describeTopic("events"))?.config).toEqual(created.config);
    });

    test("creating it again gives the same topic, or says what differs", async () => {
      const log = await makeLog();
      const first = await log.createTopic("events", { partitions: 2 });
      expect((await log.createTopic("events", { partitions: 2 })).config).toEqual(first.config);
      expect((await log.createTopic("events")).config).toEqual(first.config);
      await expect(log.createTopic("events", { partitions: 3 })).rejects.toThrow(/partitions is 2, not 3/);
      await expect(log.createTopic("events", { partitions: 3 })).rejects.toEqual(code("TOPIC_EXISTS"));
    });

    test("several at once create it once", async () => {
      const log = await makeLog();
      const all = await Promise.all([1, 2, 3].map(() => log.createTopic("events", { partitions: 2 })));
      expect(new Set(all.map(({ config }) => JSON.stringify(config))).size).toBe(1);
    });

    test("what was appended is read, in order, with key, value, headers and time", async () => {
      const { log, readers } = await withTopic();
      const whole = record("one", { key: Buffer.from("k"), headers: [{ key: "h", value: Buffer.from("x") }], timestamp: 123456789 });
      await log.append(producer, "events", 0, 0, [whole, record("two"), { ...record(""), value: null }]);
      await log.append(producer, "events", 0, 3, [record("four")]);
      const [reader] = readers as [PartitionReader];
      const found = await readFrom(reader, reader.startOffset());
      expect(valuesOf(found)).toEqual(["one", "two", "null", "four"]);
      expect(found[0]).toMatchObject({ timestamp: 123456789, headers: [{ key: "h" }] });
      expect(String(found[0]?.key)).toBe("k");
      expect(String(found[0]?.headers[0]?.value)).toBe("x");
      expect(found[2]?.value).toBeNull();
      const offsets = found.map(({ offset }) => offset);
      expect(offsets).toEqual(offsets.toSorted((a, b) => a - b));
      expect(reader.highWatermark()).toBeGreaterThan(offsets.at(-1) as number);
    });

    test("partitions are apart", async () => {
      const { log, readers } = await withTopic(2);
      await log.append(producer, "events", 0, 0, [record("left")]);
      await log.append(producer, "events", 1, 0, [record("right")]);
      expect(valuesOf(await readFrom(readers[0] as PartitionReader, 0))).toEqual(["left"]);
      expect(valuesOf(await readFrom(readers[1] as PartitionReader, 0))).toEqual(["right"]);
    });

    test("a read begins with the batch that holds the offset, whatever the bytes asked for", async () => {
      const { log, readers } = await withTopic();
      const [reader] = readers as [PartitionReader];
      for (let i = 0; i < 20; i++) await log.append(producer, "events", 0, i * 2, [record(`a${i}`), record(`b${i}`)]);
      const all = await readFrom(reader, 0);
      for (const bytesMax of [1, 100, 1000, 1 << 20]) {
        for (const { offset } of all) {
          const found = await readFrom(reader, offset, bytesMax);
          expect(valuesOf(found)).toEqual(valuesOf(all.filter((one) => one.offset >= offset)));
        }
      }
    });

    test("whoever gives a buffer back for the next read reads the same, and what it still holds stays as it is", async () => {
      const { log, readers } = await withTopic();
      const [reader] = readers as [PartitionReader];
      for (let i = 0; i < 40; i++) await log.append(producer, "events", 0, i, [record(`${i}`.repeat(1 + (i % 7) * 20))]);
      const all = valuesOf(await readFrom(reader, 0));
      for (const bytesMax of [1, 300, 1000]) {
        const found: string[] = [];
        let held: { readonly bytes: Buffer; readonly was: string } | undefined;
        let last: Buffer | undefined;
        for (let next = 0; next < reader.highWatermark(); ) {
          // every other one is given back, and one of them twice
          const bytes = await reader.read(next, bytesMax, found.length % 2 === 0 ? last : undefined);
          expect(held?.bytes.toString("latin1")).toBe(held?.was);
          for (const one of records(bytes)) {
            if (one.offset < next) continue;
            found.push(String(one.value));
            next = one.offset + 1;
          }
          if (found.length % 4 !== 2) last = bytes;
          held = last === bytes ? undefined : { bytes, was: bytes.toString("latin1") };
        }
        expect(found).toEqual(all);
      }
    });

    test("at the high watermark a read is empty; beyond it and below the start it is out of range", async () => {
      const { log, readers } = await withTopic();
      const [reader] = readers as [PartitionReader];
      expect(await reader.read(0, 1000)).toHaveLength(0);
      await log.append(producer, "events", 0, 0, [record("one")]);
      expect(await reader.read(reader.highWatermark(), 1000)).toHaveLength(0);
      await expect(reader.read(reader.highWatermark() + 1, 1000)).rejects.toEqual(code("OFFSET_OUT_OF_RANGE"));
      await expect(reader.read(-1, 1000)).rejects.toEqual(code("OFFSET_OUT_OF_RANGE"));
      expect(valuesOf(await readFrom(reader, 0))).toEqual(["one"]);
    });

    test("a sleeping reader wakes when something comes, and when its signal aborts", async () => {
      const { log, readers } = await withTopic();
      const [reader] = readers as [PartitionReader];
      const signal = new AbortController();
      const woken = reader.untilAbove(reader.highWatermark(), signal.signal).then(() => reader.highWatermark());
      await log.append(producer, "events", 0, 0, [record("one")]);
      expect(await woken).toBe(reader.highWatermark());
      await reader.untilAbove(0, signal.signal); // already above
      const aborted = reader.untilAbove(reader.highWatermark(), signal.signal);
      signal.abort();
      await aborted;
      await reader.untilAbove(reader.highWatermark() + 10, signal.signal); // aborted before
    });

    test("the same batch again is taken once", async () => {
      const { log, readers } = await withTopic();
      for (let i = 0; i < 7; i++) await log.append(producer, "events", 0, i, [record(`${i}`)]);
      for (let i = 2; i < 7; i++) await log.append(producer, "events", 0, i, [record(`${i}`)]);
      expect(valuesOf(await readFrom(readers[0] as PartitionReader, 0))).toEqual(["0", "1", "2", "3", "4", "5", "6"]);
    });

    test("the same batch twice at once is taken once, and both wait until it is durable", async () => {
      const { log, readers } = await withTopic();
      const [reader] = readers as [PartitionReader];
      const ends = [1, 2].map(() => log.append(producer, "events", 0, 0, [record("once")]).then(() => reader.highWatermark()));
      expect(await Promise.all(ends)).toEqual([1, 1]);
      expect(valuesOf(await readFrom(reader, 0))).toEqual(["once"]);
    });

    test("a gap in the sequence is refused", async () => {
      const { log } = await withTopic();
      await expect(log.append(producer, "events", 0, 5, [record("x")])).rejects.toEqual(code("OUT_OF_ORDER_SEQUENCE"));
      await log.append(producer, "events", 0, 0, [record("x"), record("y")]);
      await expect(log.append(producer, "events", 0, 3, [record("z")])).rejects.toEqual(code("OUT_OF_ORDER_SEQUENCE"));
      await expect(log.append(producer, "events", 0, 0, [record("x")])).rejects.toEqual(code("OUT_OF_ORDER_SEQUENCE"));
      await log.append(producer, "events", 0, 2, [record("z")]);
    });

    test("a higher epoch fences the lower one and begins at 0", async () => {
      const { log, readers } = await withTopic();
      await log.append(producer, "events", 0, 0, [record("old")]);
      await log.append({ ...producer, epoch: 4 }, "events", 0, 0, [record("new")]);
      await expect(log.append(producer, "events", 0, 1, [record("zombie")])).rejects.toEqual(code("PRODUCER_FENCED"));
      expect(valuesOf(await readFrom(readers[0] as PartitionReader, 0))).toEqual(["old", "new"]);
      await expect(log.append({ ...producer, epoch: 5 }, "events", 0, 2, [record("x")])).rejects.toEqual(code("OUT_OF_ORDER_SEQUENCE"));
    });

    test("a producer learns where it stands, apart for each partition and name", async () => {
      const { log } = await withTopic(2);
      expect(await log.producerState(producer.name, "events", 0)).toBeUndefined();
      await log.append({ ...producer, epoch: 2 }, "events", 0, 0, [record("a"), record("b")]);
      expect(await log.producerState(producer.name, "events", 0)).toEqual({ epoch: 2, nextSequence: 2 });
      expect(await log.producerState(producer.name, "events", 1)).toBeUndefined();
      expect(await log.producerState("another", "events", 0)).toBeUndefined();
    });

    test("what is not there, or too large, is named", async () => {
      const log = await makeLog();
      await log.createTopic("events", { maxMessageBytes: 1000 });
      await expect(log.append(producer, "nothing", 0, 0, [record("x")])).rejects.toEqual(code("UNKNOWN_TOPIC"));
      await expect(log.append(producer, "events", 1, 0, [record("x")])).rejects.toEqual(code("UNKNOWN_PARTITION"));
      await expect(log.sync("nothing")).rejects.toEqual(code("UNKNOWN_TOPIC"));
      await expect(log.append(producer, "events", 0, 0, [record("x".repeat(1000))])).rejects.toEqual(code("RECORD_TOO_LARGE"));
      await log.append(producer, "events", 0, 0, [record("x".repeat(900))]);
    });

    test("without transactions every isolation sees the same", async () => {
      const log = await makeLog();
      const [descriptor] = (await log.createTopic("events")).partitions as [PartitionDescriptor];
      for (let i = 0; i < 5; i++) await log.append(producer, "events", 0, i, [record(`${i}`)]);
      const all = await log.openReader(descriptor);
      for (const isolation of ["read_committed", "read_uncommitted"] as const) {
        const reader = await log.openReader(descriptor, { isolation });
        expect(reader.highWatermark()).toBe(all.highWatermark());
        expect(await reader.read(0, 1 << 16)).toEqual(await all.read(0, 1 << 16));
        await reader.close();
      }
      await all.close();
    });

    test.skipIf(transact === undefined)(
      "who reads committed records sees a transaction when it is committed, and nothing after one that is open",
      async () => {
        const { log, readers } = await withTopic();
        const write = transact as Transact;
        const [all] = readers as [PartitionReader];
        const reader = await log.openReader((await log.describeTopic("events"))?.partitions[0] as PartitionDescriptor, {
          isolation: "read_committed",
        });
        await log.append(producer, "events", 0, 0, [record("first")]);
        await write(log, ["a", "b"], "commit");
        await write(log, ["not", "these"], "abort");
        await log.append(producer, "events", 0, 1, [record("last")]);
        const decided = reader.highWatermark();
        expect(decided).toBe(all.highWatermark());
        expect(valuesOf(await readFrom(reader, 0))).toEqual(["first", "a", "b", "last"]);
        for (const { offset } of await readFrom(all, 0)) expect(await readFrom(reader, offset, 1)).toBeDefined();
        await write(log, ["open"], "open");
        await log.append(producer, "events", 0, 2, [record("after")]);
        expect(all.highWatermark()).toBeGreaterThan(decided);
        expect(reader.highWatermark()).toBe(decided);
        expect(await reader.read(decided, 1000)).toHaveLength(0);
        await expect(reader.read(decided + 1, 1000)).rejects.toEqual(code("OFFSET_OUT_OF_RANGE"));
        expect(valuesOf(await readFrom(all, decided))).toEqual(["open", "after"]);
        const signal = new AbortController();
        let awake = false;
        const sleep = reader.untilAbove(decided, signal.signal).then(() => void (awake = true));
        await log.append(producer, "events", 0, 3, [record("wakes only others")]);
        expect(awake).toBe(false);
        signal.abort();
        await sleep;
        await reader.close();
      },
    );

    test("sync resolves, whatever the topic's policy", async () => {
      const log = await makeLog();
      for (const sync of [{ kind: "always" }, { kind: "never" }, { kind: "interval", ms: 3_600_000 }] as const) {
        await log.createTopic(`topic-${sync.kind}`, { sync });
        await log.append(producer, `topic-${sync.kind}`, 0, 0, [record("x")]);
        await log.sync(`topic-${sync.kind}`);
      }
    });

    test("a descriptor passes through structured clone", async () => {
      const { log } = await withTopic();
      await log.append(producer, "events", 0, 0, [record("one")]);
      const descriptor = (await log.describeTopic("events"))?.partitions[0] as PartitionDescriptor;
      const reader = await log.openReader(structuredClone(descriptor));
      expect(valuesOf(await readFrom(reader, 0))).toEqual(["one"]);
      await reader.close();
    });
  });
}
