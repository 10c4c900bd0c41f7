import { expect, test } from "vitest";
import { type Logger, silentLogger } from "../../src/base/logger.ts";
import { Random } from "../../src/base/random.ts";
import type { EmbeddedTopic } from "../../src/log/contract/embeddedLog.ts";
import { openEmbeddedLog } from "../../src/log/embedded/embeddedLog.ts";
import { batchPositions } from "../../src/record/batch.ts";
import { BatchField } from "../../src/record/batchHeader.ts";
import { SimulatedFileSystem } from "../support/simulatedFileSystem.ts";
import { logOptions, record, smallDefaults } from "./support.ts";
import { end, producerBatch } from "./transactionSupport.ts";

const firstSegment = "/data/t-0/00000000000000000000.log";

class SaidErrors {
  readonly said: string[] = [];
  readonly logger: Logger = {
    ...silentLogger,
    error: (message, fields) => void this.said.push(`${message} ${JSON.stringify(fields)}`),
  };
}

async function spoilSnapshots(fileSystem: SimulatedFileSystem): Promise<void> {
  for (const file of fileSystem.files("/data/t-0")) if (file.endsWith(".snapshot")) fileSystem.flip(file, 40, 1);
}

/** Three producers by turns, over several segments; then a clean end. */
async function appended(seed: number, count: number) {
  const fileSystem = new SimulatedFileSystem({ seed });
  const options = logOptions("/data", { fileSystem, defaults: { ...smallDefaults, segmentBytes: 2000 } });
  const log = await openEmbeddedLog(options);
  await log.createTopic("t");
  const sequences = [0, 0, 0];
  for (let i = 0; i < count; i++) {
    const by = i % 3;
    await log.append({ name: `p${by}`, epoch: 0 }, "t", 0, sequences[by] as number, [record(`${i} ${"x".repeat(100 + (i % 7))}`)]);
    sequences[by] = (sequences[by] as number) + 1;
  }
  await log.close();
  return { fileSystem, options, sequences };
}

test("where producers stand is found behind a damaged batch too, and the damage is said with file and position", async () => {
  const random = new Random(3);
  // its length, where it is no header any more, and what only its checksum tells
  const places = [BatchField.length + 3, BatchField.magic, BatchField.crc, BatchField.producerId + 3, BatchField.baseSequence + 3, 80];
  for (const [seed, place] of places.entries()) {
    const { fileSystem, options, sequences } = await appended(seed, 30);
    await spoilSnapshots(fileSystem);
    const bytes = fileSystem.peek(firstSegment) as Buffer;
    const positions = [...batchPositions(bytes)];
    expect(positions.length).toBeGreaterThan(6);
    const damaged = positions[1 + random.below(positions.length - 4)] as number;
    fileSystem.flip(firstSegment, damaged + place, 1 << random.below(7));
    const { said, logger } = new SaidErrors();
    const log = await openEmbeddedLog({ ...options, logger });
    for (const [by, nextSequence] of sequences.entries()) {
      expect(await log.producerState(`p${by}`, "t", 0), `byte ${place}`).toEqual({ epoch: 0, nextSequence });
      await log.append({ name: `p${by}`, epoch: 0 }, "t", 0, nextSequence, [record("goes on")]);
    }
    expect(said).toEqual([expect.stringContaining(`${firstSegment} at byte ${damaged}`)]);
    expect(said[0]).toContain("LOG_CORRUPT");
    await log.close();
  }
});

test("the end of the segment may be what is damaged: the next ones are used", async () => {
  const { fileSystem, options, sequences } = await appended(9, 30);
  await spoilSnapshots(fileSystem);
  const last = [...batchPositions(fileSystem.peek(firstSegment) as Buffer)].at(-1) as number;
  fileSystem.flip(firstSegment, last + BatchField.length, 64);
  const { said, logger } = new SaidErrors();
  const log = await openEmbeddedLog({ ...options, logger });
  for (const [by, nextSequence] of sequences.entries())
    expect(await log.producerState(`p${by}`, "t", 0)).toEqual({ epoch: 0, nextSequence });
  expect(said).toEqual([expect.stringContaining(`${firstSegment} at byte ${last}`)]);
  await log.close();
});

test("a transaction that was aborted behind a damaged batch stays aborted, also where its index has to be made again", async () => {
  const fileSystem = new SimulatedFileSystem({ seed: 5 });
  const options = logOptions("/data", { fileSystem, defaults: { ...smallDefaults, segmentBytes: 2000 } });
  const log = await openEmbeddedLog(options);
  await log.createTopic("t");
  const topic = log.topic("t") as EmbeddedTopic;
  await topic.appendBatch(0, producerBatch(["one"], { id: 1, epoch: 0, sequence: 0 }, true));
  await topic.appendBatch(0, producerBatch(["damaged"], { id: 2, epoch: 0, sequence: 0 }, false));
  await topic.appendBatch(0, producerBatch(["two"], { id: 1, epoch: 0, sequence: 1 }, true));
  const marker = await end(topic, "abort", 1);
  for (let i = 0; i < 6; i++) await topic.appendBatch(0, producerBatch(["x".repeat(400)], { id: 3, epoch: 0, sequence: i }, false));
  const before = await topic.abortedTransactions(0, 0, topic.lastStableOffset(0));
  expect(before).toEqual([{ producerId: 1n, firstOffset: 0, lastOffset: marker }]);
  await log.close();
  fileSystem.flip("/data/t-0/00000000000000000000.txnindex", 1, 64);
  const [, damaged] = [...batchPositions(fileSystem.peek(firstSegment) as Buffer)] as [number, number];
  fileSystem.flip(firstSegment, damaged + BatchField.magic, 1);
  const again = await openEmbeddedLog(options);
  const reopened = again.topic("t") as EmbeddedTopic;
  expect(await reopened.abortedTransactions(0, 0, reopened.lastStableOffset(0))).toEqual(before);
  await again.close();
});
