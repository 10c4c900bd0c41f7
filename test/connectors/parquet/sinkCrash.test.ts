import { mkdtemp, readdir, rm } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { parquetReadObjects } from "hyparquet";
import { compressors } from "hyparquet-compressors";
import { describe, expect, test } from "vitest";
import { parquet } from "../../../connectors/parquet/index.ts";
import { MillraceError } from "../../../src/base/errors.ts";
import type { FileSystem } from "../../../src/base/fileSystem.ts";
import { nodeFileSystem } from "../../../src/base/nodeFileSystem.ts";
import { Random } from "../../../src/base/random.ts";
import type { RowSchema } from "../../../src/stream/contract/columns.ts";
import { MortalFileSystem } from "../../support/mortalFileSystem.ts";
import type { SyncKind } from "../../support/simulatedFileSystem.ts";
import { SimulatedFileSystem } from "../../support/simulatedFileSystem.ts";
import { query } from "./readers.ts";
import type { Moment } from "./sinkRun.ts";
import { SinkRun } from "./sinkRun.ts";

interface Flight {
  id: number;
  origin: string;
}
const columns: RowSchema = [
  { name: "id", type: "int64", optional: false },
  { name: "origin", type: "string", optional: true },
];
const airports = ["SFO", "LAX", "JFK"];
const flights = (count: number) => Array.from({ length: count }, (_, id) => ({ id, origin: airports[id % 3] }));
const byOrigin = { airport: (flight: Flight) => flight.origin };

describe("killed at any moment of the protocol, every row is there once", () => {
  const moments: Moment[] = ["opened", "recommitted", "written", "drained", "snapshotted", "checkpointed", "committedOne", "committed"];
  for (const moment of moments) {
    test(moment, async () => {
      const base = await mkdtemp(path.join(os.tmpdir(), "parquet-kill-"));
      try {
        let kills = 0;
        let reachedTimes = 0;
        const killAt = (reached: Moment): void => {
          // a life that always ends before its commits is what makes "opened" and "recommitted" worth a kill
          const startsOnly = moment === "opened" || moment === "recommitted";
          const due = reached === moment ? ++reachedTimes % 2 === 0 : startsOnly && reached === "checkpointed";
          if (!due || kills === 10) return;
          kills++;
          throw new Error("killed");
        };
        const run = new SinkRun({
          sink: parquet<Flight>({ to: "out", partitionBy: byOrigin, rowGroupRowsMax: 7 }),
          columns,
          rows: flights(200),
          baseDirectory: base,
          rowsOfEpoch: () => 30,
          at: killAt,
        });
        for (let ended = false; !ended; ) {
          const mortal = new MortalFileSystem(nodeFileSystem);
          ended = await run.life(mortal.fileSystem).then(
            () => true,
            (error: Error) => {
              if (error.message !== "killed") throw error;
              return false;
            },
          );
          await mortal.die();
        }
        expect(kills).toBeGreaterThanOrEqual(3);
        const rows = await query(
          `SELECT id::INT AS id, origin, airport FROM read_parquet('${base}/out/**/*.parquet', hive_partitioning = true) ORDER BY id`,
        );
        expect(rows).toEqual(flights(200).map(({ id, origin }) => ({ id, origin, airport: origin })));
        expect(await readdir(path.join(base, "out/_pending/hourly-delays.parquet~20out"))).toEqual([]);
      } finally {
        await rm(base, { recursive: true, force: true });
      }
    });
  }
});

/** The ids in the output of a simulated file system, in order. */
async function idsIn(fs: FileSystem, folder = "/base/out"): Promise<number[]> {
  const ids: number[] = [];
  for (const name of (await fs.stat(folder)) === undefined ? [] : await fs.list(folder)) {
    const at = path.join(folder, name);
    if (name === "_pending") continue;
    if ((await fs.stat(at))?.isDirectory === true) ids.push(...(await idsIn(fs, at)));
    else {
      const bytes = await fs.readFile(at);
      const file = new Uint8Array(bytes).buffer;
      for (const row of await parquetReadObjects({ file, compressors })) ids.push(Number((row as { id: bigint }).id));
    }
  }
  return ids.sort((a, b) => a - b);
}

const rowCount = 60;

/** Power losses and kills at random moments; what is wrong with the output at the end, or undefined. */
async function losses(seed: number, ignoreSync?: (path: string, kind: SyncKind) => boolean): Promise<string | undefined> {
  const random = new Random(seed);
  let fs = new SimulatedFileSystem({ seed, turnsMax: 1, ...(ignoreSync === undefined ? {} : { ignoreSync }) });
  const run = new SinkRun({
    sink: parquet<Flight>({ to: "out", partitionBy: byOrigin, rowGroupRowsMax: 4, compression: "none" }),
    columns,
    rows: flights(rowCount),
    baseDirectory: "/base",
    rowsOfEpoch: (epoch) => (epoch % 3 === 0 ? 0 : random.below(15)), // some epochs have nothing
  });
  await fs.makeDirectory("/base");
  try {
    for (let left = 8; ; left--) {
      const ends = run.life(fs).then(
        () => "done",
        (error: unknown) => error,
      );
      const turns = left > 0 ? random.below(150) : Infinity;
      let outcome: unknown;
      for (let turn = 0; turn < turns && outcome === undefined; turn++) {
        outcome = await Promise.race([ends, new Promise((resolve) => setImmediate(resolve, undefined))]);
      }
      // also when it was done: what it did must survive
      const next = random.below(4) === 0 ? fs.kill() : fs.crash();
      fs = next;
      const ended = await ends;
      if (ended !== "done" && !(ended instanceof MillraceError && String(ended.cause).includes("SIMULATED"))) throw ended;
      if (outcome === "done") break;
    }
    const ids = await idsIn(fs);
    if (run.checkpoint.pending.length > 0) {
      // the last epoch's files may not be renamed yet: the next life does it
      await run.life(fs);
      const after = await idsIn(fs);
      return JSON.stringify(after) === JSON.stringify(flights(rowCount).map(({ id }) => id))
        ? undefined
        : `${after.length} rows: ${after.join(",")}`;
    }
    return JSON.stringify(ids) === JSON.stringify(flights(rowCount).map(({ id }) => id))
      ? undefined
      : `${ids.length} rows: ${ids.join(",")}`;
  } catch (error) {
    return `${String(error)}`;
  }
}

/** A process that is killed after it made a folder and before the folder's name was synced; then power is lost. */
async function killedAfterMaking(seed: number, folder: string, ignoreSync: (path: string) => boolean): Promise<number[]> {
  let making = false;
  let killed = false;
  let fs = new SimulatedFileSystem({ seed, ignoreSync: (path, kind) => making || (kind === "directory" && ignoreSync(path)) });
  const killing: FileSystem = Object.assign(Object.create(fs) as FileSystem, {
    async makeDirectory(path: string) {
      making = !killed && path.endsWith(folder);
      await fs.makeDirectory(path);
      if (!making) return;
      making = false;
      killed = true;
      throw new Error("killed");
    },
  });
  const run = new SinkRun({
    sink: parquet<Flight>({ to: "out", partitionBy: { region: () => "west", ...byOrigin } }),
    columns,
    rows: flights(1),
    baseDirectory: "/base",
    rowsOfEpoch: () => 1,
  });
  await fs.makeDirectory("/base");
  await expect(run.life(killing)).rejects.toThrow("killed");
  fs = fs.kill();
  await run.life(fs);
  return idsIn(fs.crash());
}

const seeds = Array.from({ length: 80 }, (_, seed) => seed);

describe("power losses at random moments", () => {
  test("every row is there once", async () => {
    for (const seed of seeds) expect(await losses(seed), `seed ${seed}`).toBeUndefined();
  });

  const syncs: Record<string, (path: string, kind: SyncKind) => boolean> = {
    "of a finished file": (_, kind) => kind === "file",
    "of the folder with the temporary names": (path, kind) => kind === "directory" && path.includes("_pending/"),
    "of the folder with the results": (path, kind) => kind === "directory" && path.includes("airport="),
  };
  for (const [name, ignoreSync] of Object.entries(syncs)) {
    test(`without the sync ${name} something is lost`, async () => {
      for (const seed of seeds) if ((await losses(seed, ignoreSync)) !== undefined) return;
      expect.fail("no seed noticed");
    });
  }
});

describe("a folder that an earlier process made and did not sync", () => {
  const made: Record<string, { readonly folder: string; readonly sync: (path: string) => boolean }> = {
    "the output": { folder: "parquet~20out", sync: (path) => path === "/base" },
    "a partition": { folder: "airport=SFO", sync: (path) => path.endsWith("region=west") },
    "a partition's parent": { folder: "airport=SFO", sync: (path) => path === "/base/out" },
  };
  for (const [name, { folder, sync }] of Object.entries(made)) {
    test(`${name} survives a power loss, thanks to the sync of its parent`, async () => {
      let noticed = false;
      for (const seed of seeds.slice(0, 20)) {
        expect(await killedAfterMaking(seed, folder, () => false), `seed ${seed}`).toEqual([0]);
        noticed ||= (await killedAfterMaking(seed, folder, sync)).length === 0;
      }
      expect(noticed).toBe(true);
    });
  }
});
