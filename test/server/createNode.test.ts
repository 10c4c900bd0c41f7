/** A node in somebody's own program. */
import fs from "node:fs";
import { describe, expect, test } from "vitest";
import { createNode, type Node } from "../../src/index.ts";
import { channelTo, idsBelow, publishReadings } from "./amqp.ts";
import { temporaryFolder } from "./support.ts";

const free = { listeners: { amqp: { port: 0 } } };

describe("createNode", () => {
  test("gives a node that is closed with its block, and keeps what it was given", async () => {
    const baseDirectory = temporaryFolder();
    {
      await using node = await createNode({ data: "./data", baseDirectory, ...free });
      expect(node.addresses.amqp).toMatch(/^amqp:\/\/127\.0\.0\.1:\d+$/);
      await publishReadings(await channelTo(node.addresses.amqp), idsBelow(10));
      expect(node.status().broker.topics[0]).toMatchObject({ name: "readings", published: 10, duplicates: 0 });
    }
    expect(fs.readdirSync(`${baseDirectory}/data`).some((name) => name.includes("lock"))).toBe(false);
    await using again = await createNode({ data: "./data", baseDirectory, ...free });
    await publishReadings(await channelTo(again.addresses.amqp), idsBelow(12));
    expect(again.status().broker.topics[0]).toMatchObject({ published: 2, duplicates: 10 });
  });

  test("a second one on the same directory is refused, also in the same process", async () => {
    const baseDirectory = temporaryFolder();
    await using node = await createNode({ data: "./data", baseDirectory, ...free });
    expect(node.status().pid).toBe(process.pid);
    await expect(createNode({ data: "./data", baseDirectory, ...free })).rejects.toMatchObject({ code: "DATA_DIRECTORY_LOCKED" });
  });

  test("an option that nobody knows is refused", async () => {
    const options = { baseDirectory: temporaryFolder(), dta: "./x" };
    await expect(createNode(options)).rejects.toMatchObject({
      code: "CONFIG_UNKNOWN_KEY",
      message: expect.stringContaining("'data'") as string,
    });
  });

  test("a topic that is declared without saying how gets what the node's configuration says, and keeps it", async () => {
    const baseDirectory = temporaryFolder();
    const declare = async (node: Node): Promise<number | undefined> => {
      const channel = await channelTo(node.addresses.amqp);
      await channel.assertQueue("plain", { durable: true, arguments: { "x-queue-type": "stream" } });
      return node.status().broker.topics[0]?.partitions.length;
    };
    {
      await using node = await createNode({ data: "./data", baseDirectory, log: { partitions: 3 }, ...free });
      expect(await declare(node)).toBe(3);
    }
    await using again = await createNode({ data: "./data", baseDirectory, log: { partitions: 5 }, ...free });
    expect(await declare(again)).toBe(3);
  });

  test("limits that contradict each other are refused at the start", async () => {
    const listeners = { amqp: { port: 0, messageBytesMax: 32 * 1024 * 1024 } };
    await expect(createNode({ data: "./data", baseDirectory: temporaryFolder(), listeners })).rejects.toMatchObject({
      code: "CONFIG_INVALID",
      message: expect.stringContaining("listeners.amqp.message-bytes-max") as string,
    });
  });

  test("stopping twice, or draining what stops, waits for the same end", async () => {
    const node = await createNode({ data: "./data", baseDirectory: temporaryFolder(), ...free });
    await Promise.all([node.stop(), node.stop(), node.drain(), node.ended]);
    expect(node.status().state).toBe("stopped");
  });

  test("a port that is taken leaves nothing open: the directory is free again", async () => {
    const baseDirectory = temporaryFolder();
    await using node = await createNode({ data: "./one", baseDirectory, ...free });
    const port = Number(new URL(node.addresses.amqp).port);
    const taken = createNode({ data: "./two", baseDirectory, listeners: { amqp: { port } } });
    await expect(taken).rejects.toMatchObject({ code: "PORT_TAKEN" });
    await using two = await createNode({ data: "./two", baseDirectory, ...free });
    expect(two.status().state).toBe("running");
  });
});
