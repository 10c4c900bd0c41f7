// Writes a topic with the built node's log, for Kafka's own tools to read: node writeLog.mjs <directory>
import path from "node:path";
import { ByteBudget } from "../../dist/src/base/byteBudget.js";
import { systemClock } from "../../dist/src/base/clock.js";
import { silentLogger } from "../../dist/src/base/logger.js";
import { nodeFileSystem } from "../../dist/src/base/nodeFileSystem.js";
import { openEmbeddedLog } from "../../dist/src/log/embedded/embeddedLog.js";
import { openKeyedStore } from "../../dist/src/log/keyedStore.js";
import { encodeBatch } from "../../dist/src/record/batch.js";
import { BatchBuilder } from "../../dist/src/record/batchBuilder.js";
import { BatchAttribute } from "../../dist/src/record/batchHeader.js";

const [root] = process.argv.slice(2);
const logger = silentLogger;
const fileSystem = nodeFileSystem;
await fileSystem.makeDirectory(root);
const catalog = await openKeyedStore({
  fileSystem,
  clock: systemClock,
  logger,
  path: path.join(root, "catalog"),
  name: "catalog",
  formatVersion: 1,
});
const budget = new ByteBudget("systems test", 64 << 20);
const directory = path.join(root, "topics");
const log = await openEmbeddedLog({ fileSystem, logger, clock: systemClock, budget, catalog, directory, defaults: {} });
await log.createTopic("events", { segmentBytes: 200_000, sync: { kind: "never" } });
const topic = log.topic("events");
const record = (i) => ({
  key: Buffer.from(`key-${i % 17}`),
  value: Buffer.from(`value ${i} ${"x".repeat(i % 300)}`),
  headers: [{ key: "number", value: Buffer.from(String(i)) }],
  timestamp: 1_700_000_000_000 + ((i * 7919) % 1000),
});
let count = 0;
let sequence = 0;
for (let batch = 0; batch < 600; batch++) {
  const records = Array.from({ length: 1 + (batch % 13) }, () => record(count++));
  if (batch % 3 === 0) {
    await topic.appendBatch(0, encodeBatch(records, { producerId: 4711n, producerEpoch: 3, baseSequence: sequence }));
    sequence += records.length;
  } else {
    for (const one of records) topic.append(0, one, undefined);
    if (batch % 3 === 1) await log.sync("events");
  }
}
await writeTransactions();
const latest = await writeCompacted();
await log.close();
await catalog.close();
process.stdout.write(`${JSON.stringify({ end: topic.endOffset(0), latest })}\n`);

/** A topic that was compacted twice. Returns what its keys have. */
async function writeCompacted() {
  await log.createTopic("state", { segmentBytes: 20_000, cleanupPolicy: "compact", minCleanableDirtyRatio: 0, sync: { kind: "never" } });
  const state = log.topic("state");
  const latest = {};
  let sequence = 0;
  let i = 0;
  while (state.endOffset(0) < 3000) {
    const records = Array.from({ length: 1 + (i % 11) }, () => {
      const [key, value] = [`key-${(i * 31) % 101}`, i % 7 === 0 ? null : `value ${i} ${"y".repeat(i % 90)}`];
      if (value === null) delete latest[key];
      else latest[key] = value;
      return { key: Buffer.from(key), value: value && Buffer.from(value), headers: [], timestamp: 1_700_000_000_000 + i++ };
    });
    const producer = { producerId: BigInt(4712 + (sequence % 2)), producerEpoch: 0, baseSequence: 0 };
    await state.appendBatch(0, encodeBatch(records, sequence < 2 ? producer : {}));
    sequence++;
    if (i > 1500 && i < 1512) await log.maintain();
  }
  await log.maintain();
  return latest;
}

// three producers, each with transactions of 4 batches that lie between the others'; every third one is aborted, over several segments
async function writeTransactions() {
  await log.createTopic("transactions", { segmentBytes: 20_000, sync: { kind: "never" } });
  const topic = log.topic("transactions");
  for (let i = 0; i < 240; i++) {
    const producer = i % 3;
    const round = Math.floor(i / 3);
    const builder = new BatchBuilder();
    for (let n = 0; n < 2; n++) builder.append(record(i * 2 + n), n);
    builder.endBatch({ id: BigInt(100 + producer), epoch: 0, baseSequence: round * 2 }, BatchAttribute.transactional);
    await topic.appendBatch(0, Buffer.from(builder.bytes()));
    if (round % 4 !== 3) continue;
    const outcome = Math.floor(round / 4) % 3 === producer ? "abort" : "commit";
    await topic.endTransaction(0, { producerId: BigInt(100 + producer), epoch: 0, coordinatorEpoch: 7, outcome });
  }
}
