/** Pipelines in a node: results, drains, kills, and what is wrong with a user's file. */
import fs from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { untilTrue } from "../support/until.ts";
import { channelTo, idsBelow, publishReadings } from "./amqp.ts";
import { counting, writePipeline } from "./fixtures.ts";
import { rowsOf } from "./parquet.ts";
import { type Command, drained, millrace, nodeProcess, pipelineOf, startNode, statusOf, temporaryFolder } from "./support.ts";

const fast = ["--checkpoints.interval-ms", "200"];

/** A node is ready before a pipeline that takes long. */
const allStarted = (folder: string): Promise<void> =>
  untilTrue(async () => (await statusOf(folder)).pipelines.every(({ state }) => state !== "starting"));

/** What the readings below `end` must give, by a loop. */
function expectedCounts(end: number): { sensor: string; minute: number; readings: string }[] {
  const counts = new Map<string, number>();
  for (const id of idsBelow(end)) {
    const key = `s${id % 3} ${Math.floor(id / 60)}`;
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  return [...counts]
    .map(([key, count]) => ({ sensor: key.split(" ")[0] as string, minute: Number(key.split(" ")[1]), readings: String(count) }))
    .sort((a, b) => (a.sensor === b.sensor ? a.minute - b.minute : a.sensor < b.sensor ? -1 : 1));
}

async function expectResults(folder: string, name: string, end: number): Promise<void> {
  const raw = await rowsOf(`${folder}/out/${name}/raw`, "id");
  expect(raw.map((row) => Number(row.id))).toEqual(idsBelow(end));
  const counts = await rowsOf(`${folder}/out/${name}/counts`, "sensor, windowStart", "sensor, epoch_ms(windowStart) as startMs, readings");
  const minute = (row: Record<string, unknown>): number => (Number(row.startMs) - Date.UTC(2001, 0, 1)) / 60_000;
  expect(counts.map((row) => ({ sensor: row.sensor, minute: minute(row), readings: row.readings }))).toEqual(expectedCounts(end));
}

describe("results", () => {
  test("stop --drain takes in what is published, fires the last windows, commits, and ends with 0", async () => {
    const folder = temporaryFolder();
    writePipeline(folder, "counting.ts", counting("counting"));
    const node = await startNode(folder, ["--pipelines", "counting.ts"]);
    await publishReadings(await channelTo((await statusOf(folder)).addresses.amqp), idsBelow(1000));
    expect(await millrace(["stop", "--drain", "--data", "data"], folder).ended).toMatchObject({ code: 0 });
    expect((await node.ended).code).toBe(0);
    await expectResults(folder, "counting", 1000);
  });

  test("a clean stop in the middle and a start again: each reading once", async () => {
    const folder = temporaryFolder();
    writePipeline(folder, "counting.ts", counting("counting"));
    const args = [...fast, "--pipelines", "counting.ts"];
    const node = await startNode(folder, args);
    await publishReadings(await channelTo((await statusOf(folder)).addresses.amqp), idsBelow(300));
    await untilTrue(async () => ((await pipelineOf(folder)).task?.recordsIn ?? 0) > 0);
    node.child.kill("SIGTERM");
    expect((await node.ended).code).toBe(0);
    const again = await startNode(folder, args);
    await publishReadings(await channelTo((await statusOf(folder)).addresses.amqp), idsBelow(700));
    await drained(again, folder);
    await expectResults(folder, "counting", 700);
  });

  test("killed at every step of a checkpoint, one after the other: after the last start each reading counts once", {
    timeout: 300_000,
  }, async () => {
    const folder = temporaryFolder();
    writePipeline(folder, "counting.ts", counting("counting"));
    const args = [...fast, "--pipelines", "counting.ts"];
    let confirmed = 0;
    for (const crashAt of ["prepared:2", "checkpointed:1", "checkpointed:3", "committing:2", "committed:1"]) {
      const node = nodeProcess(folder, args, { MILLRACE_CRASH_AT: `${crashAt}:counting` });
      confirmed = await publishUntilKilled(node, folder, confirmed);
      expect(await node.ended, crashAt).toMatchObject({ signal: "SIGKILL" });
    }
    const node = await startNode(folder, args);
    // all of them again, with the same message-ids: whatever was confirmed is known
    await publishReadings(await channelTo((await statusOf(folder)).addresses.amqp), idsBelow(confirmed + 100));
    await drained(node, folder);
    await expectResults(folder, "counting", confirmed + 100);
  });
});

/** Publishes on from where the node that was killed before has confirmed. @returns how far this one has confirmed */
async function publishUntilKilled(node: Command, folder: string, from: number): Promise<number> {
  const isKilled = node.ended.then(() => undefined);
  let confirmed = from;
  try {
    await node.says("node is ready");
    const channel = await channelTo((await statusOf(folder)).addresses.amqp);
    for (;;) {
      // several checkpoints pass meanwhile; on a slow machine too it is no more than the topic knows again
      const next = idsBelow(confirmed + (confirmed < 5000 ? 20 : 1)).slice(confirmed);
      const isConfirmed = await Promise.race([publishReadings(channel, next).then(() => true), isKilled]);
      if (isConfirmed === undefined) return confirmed;
      confirmed += next.length;
      await sleep(confirmed < 5000 ? 10 : 200);
    }
  } catch (error) {
    // what it was asked last it did not answer any more
    if ((await node.ended).signal !== "SIGKILL") throw error;
    return confirmed;
  }
}

describe("a pipeline that does not behave", () => {
  test("one that spins does not delay confirms", async () => {
    const folder = temporaryFolder();
    const [spins, ends] = [JSON.stringify(`${folder}/spins`), JSON.stringify(`${folder}/ends`)];
    const spin = `{ if (reading.id === 0) { fs.writeFileSync(${spins}, ""); while (!fs.existsSync(${ends})); } return reading; }`;
    writePipeline(folder, "spinning.ts", `import fs from "node:fs";\n${counting("spinning", spin)}`);
    await startNode(folder, [...fast, "--pipelines", "spinning.ts"]);
    const channel = await channelTo((await statusOf(folder)).addresses.amqp);
    await publishReadings(channel, [0]);
    await untilTrue(() => fs.existsSync(`${folder}/spins`));
    for (let id = 1; id < 50; id++) await publishReadings(channel, [id]); // each of them waits for its confirm
    expect((await pipelineOf(folder)).task?.recordsIn ?? 0).toBe(0); // it span all the while
    fs.writeFileSync(`${folder}/ends`, "");
    await untilTrue(async () => (await pipelineOf(folder)).task?.recordsIn === 50);
  });

  test("one that fails says why, and the node and the other pipeline go on", async () => {
    const folder = temporaryFolder();
    writePipeline(folder, "good.ts", counting("good"));
    writePipeline(folder, "broken.ts", 'import { pipeline } from "millrace";\nexport default pipelin("x", () => {});\n');
    writePipeline(folder, "text.ts", 'export default "nothing";\n');
    const node = await startNode(folder, ["--pipelines", "good.ts,broken.ts,text.ts,gone.ts"]);
    await allStarted(folder);
    const { pipelines } = await statusOf(folder);
    expect(pipelines.map(({ state }) => state)).toEqual(["running", "failed", "failed", "failed"]);
    expect(pipelines.slice(1).map(({ error }) => error?.code)).toEqual(["PIPELINE_INVALID", "PIPELINE_INVALID", "PIPELINE_INVALID"]);
    expect(pipelines[1]?.error?.where).toMatch(/broken\.ts:2:/);
    expect(pipelines[2]?.error).toMatchObject({ where: `${folder}/text.ts`, hint: expect.stringContaining("export default") as string });
    expect(pipelines[3]?.error?.where).toBe(`${folder}/gone.ts`);
    await publishReadings(await channelTo((await statusOf(folder)).addresses.amqp), idsBelow(100));
    await untilTrue(async () => (await pipelineOf(folder)).task?.recordsIn === 100);
    node.child.kill("SIGTERM");
    expect((await node.ended).code).toBe(0);
  });

  test("two of the same name: the second one is refused", async () => {
    const folder = temporaryFolder();
    writePipeline(folder, "one.ts", counting("same"));
    writePipeline(folder, "two.ts", counting("same"));
    await startNode(folder, ["--pipelines", "one.ts,two.ts"]);
    await allStarted(folder);
    const { pipelines } = await statusOf(folder);
    expect(pipelines.map(({ state }) => state).sort()).toEqual(["failed", "running"]);
    expect(pipelines.find(({ state }) => state === "failed")?.error?.code).toBe("PIPELINE_NAME_TAKEN");
  });

  test("what keeps it from going on is in the status, until it goes on", async () => {
    const folder = temporaryFolder();
    writePipeline(folder, "counting.ts", counting("counting"));
    const node = await startNode(folder, [...fast, "--pipelines", "counting.ts"]);
    await untilTrue(async () => (await pipelineOf(folder)).task?.trouble?.code === "TOPIC_NOT_FOUND");
    const { out } = await millrace(["status", "--data", "data"], folder).ended;
    expect(out).toContain("counting: tries again after TOPIC_NOT_FOUND: The topic 'readings' does not exist.");
    await publishReadings(await channelTo((await statusOf(folder)).addresses.amqp), idsBelow(100));
    await untilTrue(async () => (await pipelineOf(folder)).task?.trouble === undefined);
    await drained(node, folder);
    await expectResults(folder, "counting", 100);
  });

  test("a record that goes to the dead topic is said, with its place", async () => {
    const folder = temporaryFolder();
    writePipeline(folder, "counting.ts", counting("counting"));
    const node = await startNode(folder, [...fast, "--pipelines", "counting.ts"]);
    const channel = await channelTo((await statusOf(folder)).addresses.amqp);
    await publishReadings(channel, idsBelow(1));
    for (let n = 0; n < 12; n++) channel.sendToQueue("readings", Buffer.from("no JSON"), { persistent: true });
    await channel.waitForConfirms();
    // they are in the topic with the next checkpoint
    await untilTrue(async () => (await statusOf(folder)).pipelineTopics[0]?.partitions[0]?.endOffset === 12);
    const linesSaid = (): string[] => node.err.split("\n").filter((line) => line.includes("A record went to the dead topic"));
    await untilTrue(() => linesSaid().length >= 2);
    const said = linesSaid();
    expect(said).toHaveLength(2); // the first and the tenth
    expect(said[0]).toMatch(/"record":"readings-\d+@\d+"/);
    const status = await millrace(["status", "--data", "data"], folder).ended;
    expect(status.out).toMatch(/^counting\.dead +1 +12 +- +-$/m);
    const tail = await millrace(["tail", "counting.dead", "--data", "data", "--offset", "9", "--count", "2"], folder).ended;
    expect(tail).toMatchObject({ code: 0, err: "" });
    const lines = tail.out
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as { headers: { key: string; value: string }[] });
    expect(lines).toMatchObject([
      { partition: 0, offset: 9, value: "no JSON" },
      { partition: 0, offset: 10, value: "no JSON" },
    ]);
    expect(lines[0]?.headers.map(({ value }) => value)).toContain("INVALID_JSON");
    const follow = millrace(["tail", "counting.dead", "--data", "data", "--from-beginning", "--count", "13", "--follow"], folder);
    channel.sendToQueue("readings", Buffer.from([0xff, 0]), { persistent: true });
    expect((await follow.ended).out.trim().split("\n").at(-1)).toContain('"offset":12');
  });

  test("one that ends its thread starts again from its checkpoint", async () => {
    const folder = temporaryFolder();
    const exited = JSON.stringify(`${folder}/exited`);
    // what was built of it is cleaned away too, as by somebody who tidies
    const exit = `fs.writeFileSync(${exited}, ""); fs.rmSync(${JSON.stringify(`${folder}/data/bundles`)}, { recursive: true }); process.exit(3);`;
    const exitOnce = `{ if (reading.id === 50 && !fs.existsSync(${exited})) { ${exit} } return reading; }`;
    writePipeline(folder, "exiting.ts", `import fs from "node:fs";\n${counting("exiting", exitOnce)}`);
    const node = await startNode(folder, [...fast, "--pipelines", "exiting.ts"]);
    await publishReadings(await channelTo((await statusOf(folder)).addresses.amqp), idsBelow(100));
    await untilTrue(async () => (await pipelineOf(folder)).restarts === 1 && (await pipelineOf(folder)).state === "running");
    expect((await pipelineOf(folder)).error?.code).toBe("PIPELINE_EXITED");
    await drained(node, folder);
    await expectResults(folder, "exiting", 100);
  });

  test("a drain that a failed pipeline cannot do is a failure, and says so", async () => {
    const folder = temporaryFolder();
    writePipeline(folder, "text.ts", 'export default "nothing";\n');
    const node = await startNode(folder, ["--pipelines", "text.ts"]);
    const stop = await millrace(["stop", "--drain", "--data", "data"], folder).ended;
    expect(stop).toMatchObject({ code: 1, err: expect.stringContaining("PIPELINE_INVALID") as string });
    expect((await node.ended).code).toBe(1);
  });
});
