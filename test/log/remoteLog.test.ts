import { fileURLToPath } from "node:url";
import { MessageChannel, Worker } from "node:worker_threads";
import { build } from "esbuild";
import { expect, onTestFinished, test } from "vitest";
import { MillraceError } from "../../src/base/errors.ts";
import { nodeFileSystem } from "../../src/base/nodeFileSystem.ts";
import type { EmbeddedLog } from "../../src/log/contract/embeddedLog.ts";
import type { PartitionedLog } from "../../src/log/contract/partitionedLog.ts";
import { openEmbeddedLog } from "../../src/log/embedded/embeddedLog.ts";
import { connectLog } from "../../src/log/remote/connectLog.ts";
import { crossError, uncrossError } from "../../src/log/remote/protocol.ts";
import { serveLog } from "../../src/log/remote/serveLog.ts";
import { logOptions, readFrom, record, temporaryFolder, valuesOf } from "./support.ts";

async function openPair(): Promise<{ log: EmbeddedLog; remote: PartitionedLog; close: () => void }> {
  const log = await openEmbeddedLog(logOptions(await temporaryFolder()));
  const { port1, port2 } = new MessageChannel();
  serveLog(log, port1);
  onTestFinished(async () => {
    port2.close();
    await log.close();
  });
  return { log, remote: connectLog(port2, nodeFileSystem), close: () => port1.close() };
}

test("an error crosses with everything that a caller branches on", async () => {
  const { log, remote } = await openPair();
  await remote.createTopic("t", { partitions: 2 });
  const ends = [log.createTopic("t", { partitions: 3 }), remote.createTopic("t", { partitions: 3 })];
  const [here, there] = (await Promise.all(ends.map((end) => end.catch((error: unknown) => error)))) as [MillraceError, MillraceError];
  expect(there).toBeInstanceOf(MillraceError);
  expect(there.toText()).toBe(here.toText());
  expect([there.code, there.domain, there.retryable]).toEqual([here.code, here.domain, here.retryable]);
  const damaged = new MillraceError("LOG_CORRUPT", "A segment is damaged.", { domain: "external", readableFrom: 7 });
  expect(uncrossError(structuredClone(crossError(damaged))).readableFrom).toBe(7);
});

test("appends that are sent without waiting keep their order", async () => {
  const { log, remote } = await openPair();
  const { partitions } = await remote.createTopic("t");
  const values = Array.from({ length: 100 }, (_, i) => `${i}`);
  await Promise.all(values.map((value, i) => remote.append({ name: "p", epoch: 1 }, "t", 0, i, [record(value)])));
  await remote.append({ name: "p", epoch: 1 }, "t", 0, 100, []);
  const reader = await log.openReader(partitions[0] as (typeof partitions)[0]);
  expect(valuesOf(await readFrom(reader, 0))).toEqual(values);
  await reader.close();
});

test("calls fail when the thread with the log goes", async () => {
  const { remote, close } = await openPair();
  const waiting = remote.createTopic("t");
  close();
  const disconnected = expect.objectContaining({ code: "LOG_DISCONNECTED" }) as unknown;
  await expect(waiting).rejects.toEqual(disconnected);
  await expect(remote.sync("t")).rejects.toEqual(disconnected);
});

test("a pipeline's thread sleeps until something comes, reads the files itself, and appends through the port", async () => {
  const { log } = await openPair();
  const { partitions } = await log.createTopic("in", { segmentBytes: 2000 });
  await log.createTopic("out");
  const worker = await startEcho();
  const { port1, port2 } = new MessageChannel();
  serveLog(log, port1);
  worker.postMessage({ port: port2, descriptor: partitions[0], count: 200 }, [port2]);
  const done = new Promise((resolve, reject) => {
    worker.once("message", resolve);
    worker.once("error", reject);
  });
  const values = Array.from({ length: 200 }, (_, i) => `event ${i}`);
  const echoed = await log.openReader((await log.describeTopic("out"))?.partitions[0] as (typeof partitions)[0]);
  for (const [i, value] of values.entries()) {
    log.topic("in")?.append(0, record(value), undefined);
    if (i % 20 > 0) continue;
    await echoed.untilAbove(i, new AbortController().signal);
    await new Promise((resolve) => setTimeout(resolve, 2)); // now it sleeps again
  }
  await echoed.close();
  await done;
  const out = await log.openReader((await log.describeTopic("out"))?.partitions[0] as (typeof partitions)[0]);
  expect(valuesOf(await readFrom(out, 0))).toEqual(values.map((value) => `${value}!`));
  await out.close();
});

/** A worker that reads `count` records of a partition and appends each, with a "!", to the topic "out". */
async function startEcho(): Promise<Worker> {
  const source = `
    import { parentPort } from "node:worker_threads";
    import { nodeFileSystem } from "./src/base/nodeFileSystem.ts";
    import { connectLog } from "./src/log/remote/connectLog.ts";
    import { RecordCursor } from "./src/record/recordCursor.ts";
    parentPort.once("message", async ({ port, descriptor, count }) => {
      const log = connectLog(port, nodeFileSystem);
      const reader = await log.openReader(descriptor);
      const never = new AbortController().signal;
      for (let next = 0; next < count; ) {
        await reader.untilAbove(next, never);
        const records = [];
        const cursor = new RecordCursor(await reader.read(next, 1000));
        const first = next;
        while (cursor.next()) {
          if (cursor.offset < next) continue;
          records.push({ key: null, value: Buffer.from(cursor.value() + "!"), headers: [], timestamp: cursor.timestamp });
          next = cursor.offset + 1;
        }
        await log.append({ name: "echo", epoch: 0 }, "out", 0, first, records);
      }
      await reader.close();
      port.close();
      parentPort.postMessage("done");
    });`;
  const root = fileURLToPath(new URL("../..", import.meta.url));
  const bundle = await build({
    stdin: { contents: source, resolveDir: root, loader: "ts" },
    bundle: true,
    platform: "node",
    format: "cjs",
    external: ["@node-rs/crc32"],
    write: false,
  });
  const worker = new Worker(bundle.outputFiles[0]?.text ?? "", { eval: true });
  onTestFinished(() => void worker.terminate());
  return worker;
}
