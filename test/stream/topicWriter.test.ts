import { pipeline, topic } from "millrace";
import { map } from "rxjs";
import { expect, test } from "vitest";
import { z } from "zod";
import { records } from "../../src/record/batch.ts";
import { runTask } from "../../src/stream/runTask.ts";
import { World } from "./support.ts";

const Line = z.object({ n: z.int(), text: z.string() });
const lines = topic("lines", Line);
const copies = topic("copies", Line);

const onStep = (step: string): void => {
  if (step === "committed") throw new Error("crash");
};

test("a checkpoint with more batches than the log remembers is committed again after a crash, and nothing is there twice", async () => {
  const world = new World();
  const copy = pipeline("copy", ({ source, sink }) =>
    sink(source(lines).pipe(map(({ n, text }) => ({ n, text: text.repeat(300_000) }))), copies),
  );
  await world.send(
    lines,
    Array.from({ length: 20 }, (_, n) => ({ n, text: "x" })),
  );
  await expect(runTask(copy, world.host({ onStep })).drain()).rejects.toThrow("crash");
  await runTask(copy, world.host()).drain();
  const description = await world.log.describeTopic("copies");
  const found: number[] = [];
  for (const descriptor of description?.partitions ?? []) {
    const reader = await world.log.openReader(descriptor);
    for (const { value } of records(await reader.read(0, Number.POSITIVE_INFINITY)))
      found.push((JSON.parse(String(value)) as { n: number }).n);
  }
  expect(found).toEqual(Array.from({ length: 20 }, (_, n) => n));
});
