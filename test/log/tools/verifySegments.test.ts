import { expect, test } from "vitest";
import type { FileSystem } from "../../../src/base/fileSystem.ts";
import { Random } from "../../../src/base/random.ts";
import { confirm, message } from "../../broker/message.ts";
import { BrokerNode } from "../../broker/node.ts";
import { asVersion1 } from "../../broker/segmentVersion1.ts";
import { flip, lookAt, writeAnew } from "./support.ts";

const journalFileBytes = 1 << 13;

/** Three queues with a backlog that was moved out of the journal's files, some of it consumed since. */
async function withSegments(): Promise<{ readonly fileSystem: FileSystem; readonly files: readonly string[] }> {
  let node = await BrokerNode.start({ journalFileBytes, journalBytesMax: journalFileBytes * 3 });
  await node.exchange("all", "fanout");
  for (const name of ["a", "b", "ids"]) {
    await node.queue(name, name === "ids" ? { "x-dedupe": 1000 } : {});
    await node.host.bindQueue(name, "all", "", {}, node);
  }
  for (let n = 0; n < 400; n++) {
    const { receipt, settled } = confirm();
    node.host.publish(message({ ...(n % 3 === 0 ? { exchange: "all" } : { key: "a" }), body: `${n}`.padEnd(150), id: `id${n}` }), receipt);
    receipt.seal();
    await settled;
    if (n % 40 === 39) for (let got = 0; got < 5; got++) await node.host.get("b", true, node);
  }
  node = await node.restart(); // without what was not removed yet
  await node.stop();
  const { fileSystem } = node;
  const files = (await fileSystem.list("/data/journal"))
    .filter((name) => /\.(segment|dead)$/.test(name))
    .map((name) => `/data/journal/${name}`);
  return { fileSystem, files };
}

test("segments: whole ones are, and a flipped bit anywhere in one, or in its list of what is gone, is said with its file and place", async () => {
  const { fileSystem, files } = await withSegments();
  const whole = await lookAt(fileSystem);
  expect(whole.problems).toEqual([]);
  expect(whole.journal.segments).toBe(files.filter((name) => name.endsWith(".segment")).length);
  expect(files.some((name) => name.endsWith(".dead"))).toBe(true);
  const random = new Random(5);
  const kinds = new Set<string>();
  for (let round = 0; round < 250; round++) {
    const file = random.pick(files);
    const { bytes } = (await fileSystem.stat(file)) as { bytes: number };
    const [at, bit] = [random.below(4) === 0 ? random.below(Math.min(bytes, 40)) : random.below(bytes), random.below(8)];
    await flip(fileSystem, file, at, bit);
    const { problems } = await lookAt(fileSystem);
    expect(
      problems.map((one) => one.file),
      `bit ${bit} of byte ${at} of ${file}`,
    ).toEqual([file]);
    expect(problems[0]?.position).toBeLessThanOrEqual(at);
    kinds.add(problems[0]?.kind ?? "");
    await flip(fileSystem, file, at, bit);
  }
  expect([...kinds].toSorted()).toEqual(["entry", "file", "index"]);
});

test("a segment of the first version", async () => {
  const { fileSystem, files } = await withSegments();
  const file = files.find((name) => name.endsWith(".segment")) as string;
  const { segment: old } = asVersion1(await fileSystem.readFile(file), undefined);
  if (files.includes(`${file}.dead`)) await fileSystem.removeFile(`${file}.dead`);
  await writeAnew(fileSystem, file, old);
  expect((await lookAt(fileSystem)).problems).toEqual([]);
  for (const at of [60, old.length - 10]) {
    await flip(fileSystem, file, at, 2);
    expect((await lookAt(fileSystem)).problems, `byte ${at}`).toMatchObject([{ file }]);
    await flip(fileSystem, file, at, 2);
  }
});
