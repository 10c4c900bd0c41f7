import { describe, expect, test } from "vitest";
import { openEmbeddedLog } from "../../src/log/embedded/embeddedLog.ts";
import { batchPositions, records } from "../../src/record/batch.ts";
import { SimulatedFileSystem } from "../support/simulatedFileSystem.ts";
import { appendOneByOne, code, openWithTopic, producer, record, valuesOf } from "./support.ts";

describe("what a disk left where nothing should be", () => {
  const first = "/data/t-0/00000000000000000000.log";

  test("a search by time passes over the rest of a write that failed, in a segment that was gone on from in another", async () => {
    const fileSystem = new SimulatedFileSystem({ seed: 3 });
    const { log, topic, options } = await openWithTopic({ fileSystem, directory: "/data" });
    await log.append(producer, "t", 0, 0, [record("deleted", { timestamp: 5000 })]);
    await log.append(producer, "t", 0, 1, [record("before", { timestamp: 1000 })]);
    fileSystem.failNext({ op: "write", code: "EIO", path: first });
    await expect(log.append(producer, "t", 0, 2, [record("lost")])).rejects.toEqual(code("LOG_FAILED"));
    await log.append(producer, "t", 0, 2, [record("after", { timestamp: 3000 })]);
    await log.deleteRecords("t", 0, 1);
    await log.close();
    // the cut was taken back by a loss of power, and of the write there are zeros
    const bytes = (fileSystem.peek(first) as Buffer).length;
    const file = await fileSystem.open(first, "write");
    await file.write(Buffer.alloc(300), 0, 300, bytes);
    await file.close();
    for (const name of ["index", "timeindex"]) await fileSystem.removeFile(first.replace(/log$/, name));
    const again = await openEmbeddedLog(options);
    const reader = await again.openReader(topic.description.partitions[0] as never);
    expect(await reader.offsetForTimestamp(1000)).toEqual({ offset: 1, timestamp: 1000 });
    expect(await reader.offsetForTimestamp(2000)).toEqual({ offset: 2, timestamp: 3000 });
    expect(await reader.offsetForTimestamp(4000)).toBeUndefined();
    await reader.close();
    await again.close();
  });

  test("a reader that seeks a batch whose offset a flipped bit has changed does not pass over it, but says where it is", async () => {
    const fileSystem = new SimulatedFileSystem({ seed: 3 });
    const { log, topic, options } = await openWithTopic({ fileSystem, directory: "/data" });
    await appendOneByOne(log, ["a", "b", "c", "d"]);
    await log.close();
    const [, , third] = [...batchPositions(fileSystem.peek(first) as Buffer)] as [number, number, number];
    fileSystem.flip(first, third + 7, 2); // offset 2 says that it is 0
    const again = await openEmbeddedLog(options);
    const reader = await again.openReader(topic.description.partitions[0] as never);
    await expect(reader.read(2, 1000)).rejects.toMatchObject({ code: "LOG_CORRUPT", where: `${first} at byte ${third}`, readableFrom: 3 });
    expect(valuesOf([...records(await reader.read(3, 1000))])).toEqual(["d"]);
    expect(valuesOf([...records(await reader.read(0, 1))])).toEqual(["a"]);
    await reader.close();
    await again.close();
  });
});
