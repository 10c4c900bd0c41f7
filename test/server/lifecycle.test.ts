/** A node as an operator meets it: starting, closing, being killed, being told wrong things. */
import fs from "node:fs";
import net from "node:net";
import path from "node:path";
import { describe, expect, test } from "vitest";
import { nodeProcesses } from "../../src/log/processTable.ts";
import { channelTo, idsBelow, publishReadings } from "./amqp.ts";
import { counting, writePipeline } from "./fixtures.ts";
import { cleanUp, millrace, startNode, statusOf, temporaryFolder } from "./support.ts";

describe("closing", () => {
  test.each(["SIGTERM", "SIGINT"] as const)("%s closes cleanly with 0, and the next start finds topology and messages", async (signal) => {
    const folder = temporaryFolder();
    const node = await startNode(folder);
    const channel = await channelTo((await statusOf(folder)).addresses.amqp);
    await channel.assertExchange("orders", "topic", { durable: true });
    await channel.assertQueue("eu", { durable: true });
    await channel.bindQueue("eu", "orders", "eu.*");
    for (const key of ["eu.1", "us.1", "eu.2"]) channel.publish("orders", key, Buffer.from(key), { persistent: true });
    await channel.waitForConfirms();
    node.child.kill(signal);
    expect(await node.ended).toMatchObject({ code: 0, signal: null });
    expect(fs.readdirSync(path.join(folder, "data")).filter((name) => /lock|sock/.test(name))).toEqual([]);

    await startNode(folder);
    const again = await channelTo((await statusOf(folder)).addresses.amqp);
    again.publish("orders", "eu.3", Buffer.from("eu.3"), { persistent: true });
    await again.waitForConfirms();
    const got = [];
    for (let message = await again.get("eu"); message; message = await again.get("eu")) got.push(message.content.toString());
    expect(got).toEqual(["eu.1", "eu.2", "eu.3"]);
  });

  test("millrace stop returns when the process has ended", async () => {
    const folder = temporaryFolder();
    const node = await startNode(folder);
    const stop = await millrace(["stop", "--data", "data"], folder).ended;
    expect(stop).toMatchObject({ code: 0, out: "" });
    expect(await nodeProcesses.identity(node.child.pid as number)).toBeUndefined();
    expect((await node.ended).code).toBe(0);
  });

  test("a killed node's directory is taken over, and what was confirmed is there", async () => {
    const folder = temporaryFolder();
    const node = await startNode(folder);
    await publishReadings(await channelTo((await statusOf(folder)).addresses.amqp), idsBelow(500));
    node.child.kill("SIGKILL");
    await node.ended;
    await startNode(folder);
    const ends = (await statusOf(folder)).broker.topics.find((topic) => topic.name === "readings")?.partitions.map((p) => p.endOffset);
    expect(ends?.reduce((sum, end) => sum + end, 0)).toBe(500);
  });
});

describe("the control socket", () => {
  test("is for the node's user only", async () => {
    const folder = temporaryFolder();
    await startNode(folder);
    expect(fs.statSync(path.join(folder, "data/control.sock")).mode & 0o777).toBe(0o600);
  });

  test("millrace status shows what the node does, for people and for programs", async () => {
    const folder = temporaryFolder();
    await startNode(folder);
    await publishReadings(await channelTo((await statusOf(folder)).addresses.amqp), idsBelow(3));
    const text = await millrace(["status", "--data", "data"], folder).ended;
    expect(text).toMatchObject({ code: 0, err: "" });
    expect(text.out).toMatch(/topic .*\nreadings +2 /);
    const json = await millrace(["status", "--data", "data", "--json"], folder).ended;
    expect(JSON.parse(json.out)).toMatchObject({ state: "running", broker: { topics: [{ name: "readings", published: 3 }] } });
  });

  test("status names the partitions that take nothing, and why; the others go on", async () => {
    const folder = temporaryFolder();
    for (const signal of ["SIGTERM", "SIGKILL"] as const) {
      const node = await startNode(folder);
      const channel = await channelTo((await statusOf(folder)).addresses.amqp);
      const stream = { durable: true, arguments: { "x-queue-type": "stream" } };
      for (const queue of ["damaged", "whole"]) {
        await channel.assertQueue(queue, stream);
        channel.sendToQueue(queue, Buffer.from("message"), { persistent: true });
      }
      await channel.waitForConfirms();
      node.child.kill(signal);
      await node.ended;
    }
    // what the catalog knows from the clean stop is gone
    const file = path.join(folder, "data/topics/damaged-0/00000000000000000000.log");
    fs.truncateSync(file);

    await startNode(folder);
    const { refusing } = await statusOf(folder);
    expect(refusing).toMatchObject({
      count: 1,
      first: [{ partition: "damaged-0", code: "LOG_CORRUPT", where: expect.stringContaining(file) as string }],
    });
    const { out } = await millrace(["status", "--data", "data"], folder).ended;
    expect(out).toMatch(/^partitions that take nothing now: 1\ndamaged-0: LOG_CORRUPT: .*\n {2}at .*\n[^]*millrace log repair/m);
    const again = await channelTo((await statusOf(folder)).addresses.amqp);
    again.sendToQueue("whole", Buffer.from("goes on"), { persistent: true });
    await again.waitForConfirms();
  });

  test("moves to a short path when the directory's is too long for one, and is found there", async () => {
    const folder = path.join(temporaryFolder(), "x".repeat(60), "y".repeat(60));
    fs.mkdirSync(folder, { recursive: true });
    await startNode(folder);
    expect((await statusOf(folder)).data).toBe(path.join(folder, "data"));
  });

  test("answers nonsense with an error, and the node goes on", async () => {
    const folder = temporaryFolder();
    await startNode(folder);
    const answer = await new Promise<string>((resolve) => {
      const socket = net.connect(path.join(folder, "data/control.sock"));
      cleanUp(() => void socket.destroy());
      socket.setEncoding("utf8").on("data", resolve);
      socket.write('{"command":"explode"}\n');
    });
    expect(JSON.parse(answer)).toMatchObject({
      ok: false,
      error: { code: "CONTROL_FAILED", because: expect.stringContaining("explode") as string },
    });
    expect((await statusOf(folder)).state).toBe("running");
  });
});

describe("what cannot be", () => {
  test("a second node on the same directory: it says whose it is", async () => {
    const folder = temporaryFolder();
    const node = await startNode(folder);
    const second = await millrace(["start", "--data", "data", "--listeners.amqp.port", "0"], folder).ended;
    expect(second.code).toBe(1);
    expect(second.err).toContain(`process ${node.child.pid}`);
    expect(second.err).toContain("DATA_DIRECTORY_LOCKED");
  });

  test("a taken port: start says it and ends, and leaves the directory free", async () => {
    const folder = temporaryFolder();
    const server = net.createServer().listen(0, "127.0.0.1");
    cleanUp(() => void server.close());
    await new Promise((resolve) => server.once("listening", resolve));
    const { port } = server.address() as net.AddressInfo;
    const taken = await millrace(["start", "--data", "data", "--listeners.amqp.port", String(port)], folder).ended;
    expect(taken.code).toBe(1);
    expect(taken.err).toMatch(/PORT_TAKEN: port \d+ is taken/);
    await startNode(folder);
  });

  test("a taken port in development: it is said, and the next one taken and printed", async () => {
    const folder = temporaryFolder();
    const server = net.createServer().listen(0, "127.0.0.1");
    cleanUp(() => void server.close());
    await new Promise((resolve) => server.once("listening", resolve));
    const { port } = server.address() as net.AddressInfo;
    const dev = millrace(["dev", "--data", "data", "--listeners.amqp.port", String(port)], folder);
    await dev.says("npx millrace stop");
    expect(dev.err).toContain(`(port ${port} is taken)`);
    const { addresses } = await statusOf(folder);
    expect(dev.err).toContain(addresses.amqp);
    await (await channelTo(addresses.amqp)).assertQueue("hello");
  });

  test("a data directory of a newer release", async () => {
    const folder = temporaryFolder();
    await (await millrace(["stop", "--data", "data"], folder)).ended;
    fs.mkdirSync(path.join(folder, "data"));
    fs.writeFileSync(path.join(folder, "data/version"), "millrace-data 999\n");
    const newer = await millrace(["start", "--data", "data"], folder).ended;
    expect(newer).toMatchObject({ code: 1, err: expect.stringContaining("DATA_TOO_NEW") as string });
  });

  test("a data directory that cannot be made or written: it ends and says why, where and what to do", async () => {
    const folder = temporaryFolder();
    fs.writeFileSync(path.join(folder, "file"), "");
    fs.symlinkSync("loop", path.join(folder, "loop"));
    const inTheWay = /because E(EXIST|NOTDIR): .*\n {2}A file has the name of a folder there/;
    const cases: [command: string, data: string, text: RegExp][] = [
      ["start", "file", inTheWay],
      ["start", "file/data", inTheWay],
      ["dev", "loop/data", /because ELOOP/],
    ];
    if (process.platform === "linux") cases.push(["dev", "/proc/nothing-can-be-made-here", /because ENOENT/]);
    const results = await Promise.all(cases.map(([command, data]) => millrace([command, "--data", data], folder).ended));
    for (const [n, { code, out, err }] of results.entries()) {
      const [, data, text] = cases[n] as (typeof cases)[number];
      expect({ code, out }, data).toEqual({ code: 1, out: "" });
      expect(err).toMatch(/^DATA_UNUSABLE: the data directory cannot be used\n {2}at .*\n {2}because .*\n {2}.*--data\.\n$/);
      expect(err).toContain(`at ${path.resolve(folder, data)}\n`);
      expect(err).toMatch(text);
    }
  });

  test("a folder within the data directory that is a file: the same", async () => {
    const folder = temporaryFolder();
    fs.mkdirSync(path.join(folder, "data"));
    fs.writeFileSync(path.join(folder, "data/checkpoints"), "");
    writePipeline(folder, "counting.ts", counting("counting"));
    const { code, err } = await millrace(
      ["start", "--data", "data", "--listeners.amqp.port", "0", "--logging.level", "silent", "--pipelines", "counting.ts"],
      folder,
    ).ended;
    expect(code).toBe(1);
    expect(err).toMatch(/^DATA_UNUSABLE: [^]*because EEXIST: .*checkpoints'\n {2}A file has the name of a folder there/);
    expect(err).not.toMatch(/^ {4}at /m);
  });

  test("a topic's folder was removed: what cannot be read is said, without a stack", async () => {
    const folder = temporaryFolder();
    const node = await startNode(folder);
    const channel = await channelTo((await statusOf(folder)).addresses.amqp);
    await channel.assertQueue("readings", { durable: true, arguments: { "x-queue-type": "stream" } });
    node.child.kill("SIGTERM");
    await node.ended;
    fs.rmSync(path.join(folder, "data/topics/readings-0"), { recursive: true });
    const result = await millrace(["start", "--data", "data"], folder).ended;
    expect(result.code).toBe(1);
    expect(result.err).toMatch(/^TOPIC_FOLDER_MISSING: .*\n {2}at .*readings-0\n {2}Put it back/m);
    expect(result.err).not.toMatch(/^ {4}at /m);
  });

  test("status and stop without a node", async () => {
    const folder = temporaryFolder();
    for (const command of ["status", "stop"]) {
      const result = await millrace([command, "--data", "data"], folder).ended;
      expect(result).toMatchObject({ code: 1, out: "", err: expect.stringContaining("NODE_NOT_RUNNING") as string });
    }
  });
});

describe("the pool of threads for files and compression", () => {
  test.runIf(process.platform === "linux")("has 16 of them, or as many as the environment says", async () => {
    const threads = async (environment: NodeJS.ProcessEnv): Promise<number> => {
      const node = await startNode(temporaryFolder(), [], environment);
      return fs.readdirSync(`/proc/${node.child.pid}/task`).length;
    };
    expect((await threads({ UV_THREADPOOL_SIZE: undefined })) - (await threads({ UV_THREADPOOL_SIZE: "6" }))).toBe(10);
  });
});
