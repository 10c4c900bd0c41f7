import { describe, expect, onTestFinished, test } from "vitest";
import { z } from "zod";
import { silentLogger } from "../../src/base/logger.ts";
import type { EmbeddedTopic } from "../../src/log/contract/embeddedLog.ts";
import { openEmbeddedLog } from "../../src/log/embedded/embeddedLog.ts";
import { Graph } from "../../src/stream/engine/graph.ts";
import { Inputs } from "../../src/stream/engine/inputs.ts";
import { SourceNode } from "../../src/stream/engine/sourceNode.ts";
import { topic } from "../../src/stream/topic.ts";
import { logOptions, temporaryFolder } from "../log/support.ts";
import { end, producerBatch } from "../log/transactionSupport.ts";

const source = (name: string): SourceNode =>
  new SourceNode(new Graph("test", silentLogger), topic(name, z.unknown()), {
    eventTime: undefined,
    outOfOrdernessMs: 0,
    idleAfterMs: undefined,
  });

async function written(): Promise<{ topic: EmbeddedTopic; inputs: (offset?: number) => Promise<Inputs> }> {
  const log = await openEmbeddedLog(logOptions(await temporaryFolder()));
  onTestFinished(() => log.close());
  await log.createTopic("t");
  const topic = log.topic("t") as EmbeddedTopic;
  const inputs = async (offset?: number): Promise<Inputs> => {
    const before = offset === undefined ? [] : [{ topic: "t", partition: 0, offset, maxEventTime: null }];
    return Inputs.open(log, [source("t")], before);
  };
  return { topic, inputs };
}

/** What a pipeline would get, in reads of at most so many bytes. */
async function taken(inputs: Inputs, bytesMax: number): Promise<string[]> {
  const values: string[] = [];
  for (let reads = 0; await inputs.fill(bytesMax); reads++) {
    expect(reads).toBeLessThan(1000);
    inputs.inOrder(
      (input) => {
        values.push(`${input.cursor.offset} ${input.cursor.value()}`);
        input.done();
        return true;
      },
      bytesMax,
      1000,
    );
  }
  return values;
}

describe("a pipeline's source", () => {
  test("takes committed records only, past any length of aborted ones, and waits before an open transaction", async () => {
    const { topic, inputs } = await written();
    for (let i = 0; i < 40; i++) await topic.appendBatch(0, producerBatch([`aborted ${i}`], { id: 1, epoch: 0, sequence: i }, true));
    await end(topic, "abort", 1);
    await topic.appendBatch(0, producerBatch(["a", "b"], { id: 1, epoch: 0, sequence: 40 }, true));
    await end(topic, "commit", 1);
    await topic.appendBatch(0, producerBatch(["open"], { id: 1, epoch: 0, sequence: 42 }, true));
    for (const bytesMax of [1, 200, 1 << 20]) {
      const all = await inputs();
      expect(await taken(all, bytesMax)).toEqual(["41 a", "42 b"]);
      expect(all.all.map(({ nextOffset, hungry }) => [nextOffset, hungry])).toEqual([[44, false]]);
      await end(topic, "commit", 2); // a marker of nothing, behind the open one
      expect(await taken(all, bytesMax)).toEqual([]);
      await all.close();
    }
    await end(topic, "commit", 1);
    const rest = await inputs(44);
    expect(await taken(rest, 1)).toEqual(["44 open"]);
    await rest.close();
  });

  test("that is drained ends where records are decided", async () => {
    const { topic, inputs } = await written();
    await topic.appendBatch(0, producerBatch(["a"], { id: 1, epoch: 0, sequence: 0 }, false));
    await topic.appendBatch(0, producerBatch(["open"], { id: 1, epoch: 0, sequence: 1 }, true));
    const all = await inputs();
    all.limitToNow();
    await end(topic, "abort", 1);
    expect(await taken(all, 1000)).toEqual(["0 a"]);
    expect(all.all.every(({ finished }) => finished)).toBe(true);
    await all.close();
  });
});
