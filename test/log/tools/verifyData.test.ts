import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { describe, expect, test } from "vitest";
import type { LogProblem } from "../../../src/log/tools/logProblem.ts";
import { steadyProblems } from "../../../src/log/tools/logProblem.ts";
import { batchPositions } from "../../../src/record/batch.ts";
import { confirm, message } from "../../broker/message.ts";
import { BrokerNode } from "../../broker/node.ts";
import { flip, lookAt } from "./support.ts";

const topics = "/data/topics";
const first = `${"0".repeat(20)}.log`;

async function publish(node: BrokerNode, key: string, body: string): Promise<void> {
  const { receipt, settled } = confirm();
  node.host.publish(message({ key, body }), receipt);
  receipt.seal();
  await settled;
}

/** A topic of several segments, one of a single segment, and a queue. */
async function stopped(): Promise<BrokerNode> {
  const node = await BrokerNode.start();
  await node.queue("many", { "x-queue-type": "stream", "x-segment-bytes": 3000 });
  await node.queue("one", { "x-queue-type": "stream" });
  await node.queue("q");
  for (let n = 0; n < 60; n++) for (const key of ["many", "one", "q"]) await publish(node, key, `${n}`.padEnd(100));
  await node.stop();
  return node;
}

const brief = (problems: readonly LogProblem[]): [string, string, number][] =>
  problems.map(({ kind, file, position }) => [kind, file.slice("/data/".length), position]);

test("a whole data directory: what there is, and nothing amiss", async () => {
  const { fileSystem } = await stopped();
  const seen: number[] = [];
  const found = await lookAt(fileSystem, "/data", { progress: (bytes, total) => seen.push(bytes / total) });
  expect(found.problems).toEqual([]);
  expect(found).toMatchObject({ topics: { partitions: 2, batches: 120 }, journal: { files: 2 }, catalog: 4 });
  expect(found.topology).toBeGreaterThan(2);
  expect(seen).toEqual(seen.toSorted((a, b) => a - b));
  expect(seen.at(-1)).toBe(1);
});

describe("what only the catalog can tell", () => {
  test("whole batches that are gone from the end, also the last segments", async () => {
    const { fileSystem } = await stopped();
    const one = `${topics}/one-0/${first}`;
    const positions = [...batchPositions(await fileSystem.readFile(one))];
    const handle = await fileSystem.open(one, "write");
    await handle.truncate(positions[57] as number);
    await handle.close();
    const segments = (await fileSystem.list(`${topics}/many-0`)).filter((name) => name.endsWith(".log")).toSorted();
    const last = segments.at(-1) as string;
    for (const name of await fileSystem.list(`${topics}/many-0`)) {
      if (Number.parseInt(name, 10) >= Number.parseInt(last, 10)) await fileSystem.removeFile(`${topics}/many-0/${name}`);
    }
    const { problems } = await lookAt(fileSystem);
    const bytes = (await fileSystem.stat(`${topics}/many-0/${segments.at(-2)}`))?.bytes as number;
    expect(brief(problems)).toEqual([
      ["lost", `topics/many-0/${segments.at(-2)}`, bytes],
      ["lost", `topics/one-0/${first}`, positions[57]],
    ]);
    expect(problems[1]?.what).toBe("offsets 57 to 59 were synced and are not there");
  });

  test("a first segment, a segment file, a folder that are not there, and a folder that is nobody's", async () => {
    const { fileSystem } = await stopped();
    const segments = (await fileSystem.list(`${topics}/many-0`)).filter((name) => name.endsWith(".log")).toSorted();
    await fileSystem.removeFile(`${topics}/many-0/${first}`);
    for (const name of await fileSystem.list(`${topics}/one-0`)) await fileSystem.removeFile(`${topics}/one-0/${name}`);
    await fileSystem.makeDirectory(`${topics}/nobody-0`);
    expect(brief((await lookAt(fileSystem)).problems)).toEqual([
      ["missing", "topics/one-0", 0],
      ["missing", `topics/many-0/${segments[1]}`, 0],
    ]);
    await fileSystem.rename(`${topics}/many-0`, `${topics}/nobody-1`);
    expect(brief((await lookAt(fileSystem)).problems).slice(0, 3)).toEqual([
      ["missing", "topics/many-0", 0],
      ["stray", "topics/nobody-1", 0],
      ["missing", "topics/one-0", 0],
    ]);
  });
});

test.each([
  ["catalog", ""],
  ["catalog", ".twin"],
  ["topology", ""],
  ["topology", ".twin"],
])(
  "a flipped bit anywhere in the file %s%s is said with its place; of what both files have is said what the next start cuts",
  async (name, end) => {
    const { fileSystem } = await stopped();
    const file = `/data/${name}${end}`;
    const files = [`/data/${name}`, `/data/${name}.twin`];
    const { bytes } = (await fileSystem.stat(file)) as { bytes: number };
    const met = { store: 0, tail: 0, state: 0 };
    const flipIn = async (which: readonly string[], at: number): Promise<void> => {
      for (const one of which) await flip(fileSystem, one, at, at % 8);
    };
    for (let at = 0; at < bytes; at += at < 40 ? 1 : 17) {
      for (const flipped of [[file], files]) {
        await flipIn(flipped, at);
        const found = await lookAt(fileSystem);
        const problems = found.problems.filter((one) => files.includes(one.file));
        await flipIn(flipped, at);
        expect(
          problems.map((one) => one.file),
          `byte ${at}`,
        ).toEqual(flipped);
        for (const { position, kind } of problems) {
          expect(position).toBeLessThanOrEqual(at);
          expect(flipped === files ? ["store", "tail"] : ["store", "state"]).toContain(kind);
          met[kind as keyof typeof met]++;
        }
        const isReadable = found[name as "catalog" | "topology"] !== undefined;
        expect(isReadable, `byte ${at}`).toBe(flipped !== files || problems[0]?.kind === "tail");
      }
    }
    for (const count of Object.values(met)) expect(count).toBeGreaterThan(0);
  },
);

test("a snapshot of producers that is damaged does no harm, and is said", async () => {
  const { fileSystem } = await stopped();
  const name = (await fileSystem.list(`${topics}/many-0`)).filter((one) => one.endsWith(".snapshot")).toSorted()[0] as string;
  await flip(fileSystem, `${topics}/many-0/${name}`, 30, 3);
  expect(brief((await lookAt(fileSystem)).problems)).toEqual([["state", `topics/many-0/${name}`, 0]]);
});

describe("beside a node that runs", () => {
  const problem = (kind: LogProblem["kind"], position: number): LogProblem => ({ kind, file: "f", position, what: "" });

  test("what is found once and not again was being written; what is found at the same place each time is said", async () => {
    const looks = [[problem("entry", 1), problem("batch", 5)], [problem("entry", 2), problem("batch", 5)], [problem("batch", 5)]];
    const look = () => Promise.resolve({ problems: looks.shift() ?? [] });
    expect(await steadyProblems(true, look)).toEqual({ problems: [problem("batch", 5)] });
    const torn = () => Promise.resolve({ problems: [problem("tail", 9)] });
    expect(await steadyProblems(true, torn)).toEqual({ problems: [] });
    expect(await steadyProblems(false, torn)).toEqual({ problems: [problem("tail", 9)] });
  });

  test("a file that goes while it is read: looked at again; not for ever", async () => {
    let gone = 9;
    const look = async () => {
      if (gone-- > 0) throw new Error("ENOENT");
      return { problems: [] };
    };
    expect(await steadyProblems(true, look)).toEqual({ problems: [] });
    gone = 10;
    await expect(steadyProblems(true, look)).rejects.toThrow("ENOENT");
  });

  test("nothing is found while messages come and go, segments roll and files are used again", async () => {
    const directory = await mkdtemp(path.join(tmpdir(), "millrace-verify-"));
    const node = await BrokerNode.start({ directory, journalFileBytes: 1 << 14, journalBytesMax: 1 << 16 });
    try {
      await node.queue("t", { "x-queue-type": "stream", "x-segment-bytes": 4000, "x-retention-bytes": 20_000 });
      await node.queue("q");
      await node.queue("slow");
      const over = new AbortController();
      const load = (async () => {
        for (let n = 0; !over.signal.aborted; n++) {
          await Promise.all(["t", "q", n % 20 === 0 ? "slow" : "q"].map((key) => publish(node, key, `${n}`.padEnd(400))));
          if (n % 2 === 0) for (let got = 0; got < 3; got++) await node.host.get("q", true, node);
          if (n % 50 === 0) await node.log.maintain();
        }
      })();
      const found: LogProblem[] = [];
      let entries = 0;
      for (let n = 0; n < 30; n++) {
        const seen = await lookAt(node.fileSystem, directory, { live: true });
        found.push(...seen.problems);
        entries += seen.journal.entries;
      }
      over.abort();
      await load;
      await node.stop();
      expect(found).toEqual([]);
      expect(entries).toBeGreaterThan(0);
    } finally {
      await rm(directory, { recursive: true, force: true });
    }
  });
});
