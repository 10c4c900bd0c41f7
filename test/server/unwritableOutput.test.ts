/** A Parquet sink whose folder cannot be written, or is full: said, and the node stays up. */
import { execFileSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { expect, test } from "vitest";
import { untilTrue } from "../support/until.ts";
import { channelTo, idsBelow, publishReadings } from "./amqp.ts";
import { counting, writePipeline } from "./fixtures.ts";
import { rowsOf } from "./parquet.ts";
import { drained, millrace, startNode, startNodeWithMounts, statusOf, temporaryFolder } from "./support.ts";

const args = ["--checkpoints.interval-ms", "200", "--pipelines", "counting.ts"];

test("something else has the folder's name: status and log say what, where, why and what to do; AMQP goes on; then nothing is missing", async () => {
  const folder = temporaryFolder();
  writePipeline(folder, "counting.ts", counting("counting"));
  fs.writeFileSync(path.join(folder, "out"), "");
  const node = await startNode(folder, args);
  const channel = await channelTo((await statusOf(folder)).addresses.amqp);
  await publishReadings(channel, idsBelow(50));
  await untilTrue(async () => (await statusOf(folder)).pipelines[0]?.state === "failed");
  const { out } = await millrace(["status", "--data", "data"], folder).ended;
  expect(out).toMatch(
    /^counting: OUTPUT_UNWRITABLE: cannot write .*\n {2}at .*\/out\/counting\/.*\n {2}because E(NOTDIR|EXIST): .*\n {2}.*move it away.*then start the node again\.$/m,
  );
  expect(node.err).toMatch(/"pipeline failed"|pipeline failed/);
  expect(node.err).toMatch(/OUTPUT_UNWRITABLE[^]*move it away/);
  await publishReadings(channel, idsBelow(100));
  node.child.kill("SIGTERM");
  expect((await node.ended).code).toBe(0);
  fs.rmSync(path.join(folder, "out"));
  const again = await startNode(folder, args);
  await untilTrue(async () => (await statusOf(folder)).pipelines[0]?.task?.recordsIn === 100);
  await drained(again, folder);
  expect((await rowsOf(`${folder}/out/counting/raw`, "id")).map((row) => Number(row.id))).toEqual(idsBelow(100));
});

/** A small file system of one's own needs no root where users have namespaces. */
function canMount(): boolean {
  try {
    execFileSync("unshare", ["-rm", "true"], { stdio: "ignore" });
    return true;
  } catch {
    console.warn("no mount namespace for this user: the test of a full disk is left out");
    return false;
  }
}

test.runIf(process.platform === "linux" && canMount())(
  "the disk of the output is full: said, AMQP goes on; with room all goes on by itself",
  async () => {
    const folder = temporaryFolder();
    writePipeline(folder, "counting.ts", counting("counting"));
    fs.mkdirSync(path.join(folder, "out"));
    const node = await startNodeWithMounts(
      "mount -t tmpfs -o size=512k tmpfs out; dd if=/dev/zero of=out/filler bs=4k 2>/dev/null",
      folder,
      args,
    );
    const inside = `/proc/${node.child.pid}/root${folder}`;
    const channel = await channelTo((await statusOf(folder)).addresses.amqp);
    await publishReadings(channel, idsBelow(50));
    await untilTrue(async () => (await statusOf(folder)).pipelines[0]?.task?.trouble?.code === "OUTPUT_FULL");
    const { out } = await millrace(["status", "--data", "data"], folder).ended;
    expect(out).toMatch(
      /^counting: tries again after OUTPUT_FULL: there is no room left to write .*\/out\/.*\n {2}Free space on this disk/m,
    );
    expect(node.err).toMatch(/OUTPUT_FULL.*Free space on this disk/);
    await publishReadings(channel, idsBelow(100));
    fs.rmSync(`${inside}/out/filler`);
    await untilTrue(async () => (await rowsOf(`${inside}/out/counting/raw`, "id")).length === 100);
    expect((await rowsOf(`${inside}/out/counting/raw`, "id")).map((row) => Number(row.id))).toEqual(idsBelow(100));
    await untilTrue(async () => (await statusOf(folder)).pipelines[0]?.task?.trouble === undefined);
  },
);
