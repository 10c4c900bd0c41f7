/** Who may import whom. The table of docs/architecture.md, held against what the files really import. */
import fs from "node:fs";
import path from "node:path";
import { describe, expect, test } from "vitest";
import { importsOf, target } from "./architecture/imports.ts";

interface Room {
  /** A folder or a file from the project's root; the longest that fits a file is its room. */
  readonly at: string;
  /** Rooms, by `at`; "*" is all of ours. Its own room is always allowed. */
  readonly ours: readonly string[];
  /** Packages, without Node's own modules; "*" is all. */
  readonly packages: readonly string[];
}

const streamContracts = ["src/stream/contract", "src/log/contract"];

const rooms: readonly Room[] = [
  { at: "src/base", ours: [], packages: ["@node-rs/crc32"] },
  { at: "src/record", ours: ["src/base"], packages: ["@mongodb-js/zstd", "snappy"] },
  { at: "src/log", ours: ["src/base", "src/record", "src/log/contract"], packages: [] },
  { at: "src/log/contract", ours: ["src/base", "src/record"], packages: [] },
  { at: "src/broker", ours: ["src/base", "src/record", "src/log", "src/log/contract"], packages: [] },
  { at: "src/protocol/amqp/codec", ours: ["src/base", "src/record"], packages: [] },
  { at: "src/protocol/amqp", ours: ["src/base", "src/record", "src/broker", "src/protocol/amqp/codec"], packages: [] },
  { at: "src/stream", ours: ["src/base", "src/record", ...streamContracts], packages: ["rxjs"] },
  { at: "src/stream/contract", ours: ["src/base", "src/record", "src/log/contract"], packages: [] },
  // a layer's configuration is its own schema, so that src/config can gather it without the layer
  // what Kafka's properties of a topic are is a table that the log's own checks read too
  { at: "src/log/config.ts", ours: ["src/base", "src/log/contract"], packages: ["zod"] },
  { at: "src/broker/config.ts", ours: ["src/base"], packages: ["zod"] },
  { at: "src/protocol/amqp/config.ts", ours: ["src/base"], packages: ["zod"] },
  { at: "src/stream/config.ts", ours: ["src/base"], packages: ["zod"] },
  { at: "src/server/config.ts", ours: ["src/base"], packages: ["zod"] },
  {
    at: "src/config",
    ours: [
      "src/base",
      "src/log/config.ts",
      "src/broker/config.ts",
      "src/protocol/amqp/config.ts",
      "src/stream/config.ts",
      "src/server/config.ts",
    ],
    packages: ["zod", "yaml"],
  },
  { at: "src/server", ours: ["*"], packages: ["pino", "esbuild", "zod"] },
  { at: "src/cli", ours: ["*"], packages: ["commander"] },
  { at: "src/millrace.cts", ours: ["src/main.ts"], packages: [] },
  { at: "src/main.ts", ours: ["*"], packages: [] },
  { at: "src/index.ts", ours: ["*"], packages: [] },
  { at: "connectors/formats", ours: ["src/base", "src/record", ...streamContracts], packages: ["@mongodb-js/zstd", "snappy"] },
  { at: "connectors/parquet", ours: ["src/base", "src/record", "connectors/formats", ...streamContracts], packages: [] },
  { at: "pipelines", ours: [], packages: ["millrace", "rxjs", "zod"] },
];

const root = path.resolve(import.meta.dirname, "..");

/** The room that a file (or the file that is imported) belongs to. */
function roomOf(file: string): Room | undefined {
  return rooms.filter((room) => file === room.at || file.startsWith(`${room.at}/`)).reduce<Room | undefined>(longer, undefined);
}
const longer = (best: Room | undefined, room: Room): Room => (best === undefined || room.at.length > best.at.length ? room : best);

/** The imports of one file that its room does not allow, as "file:line imports x". */
function violations(file: string, source: string): string[] {
  const room = roomOf(file);
  if (room === undefined) return [`${file} is in no room of the table`];
  return importsOf(source).flatMap(({ specifier, line }) => {
    const { kind, name } = target(file, specifier);
    const ok = kind === "file" ? allowsFile(room, name) : allowsPackage(room, specifier, name);
    return ok ? [] : [`${file}:${line} (${room.at}) imports ${specifier}`];
  });
}

function allowsFile(room: Room, file: string): boolean {
  const other = roomOf(file);
  if (other === undefined) return false;
  return other === room || room.ours.includes("*") || room.ours.includes(other.at) || ownConfig(room, other);
}

/** A layer reads its own configuration. */
const ownConfig = (room: Room, other: Room): boolean => other.at === `${room.at}/config.ts`;

function allowsPackage(room: Room, specifier: string, name: string): boolean {
  return specifier.startsWith("node:") || room.packages.includes("*") || room.packages.includes(name);
}

const files = ["src", "connectors", "pipelines"].flatMap((folder) =>
  fs
    .readdirSync(path.join(root, folder), { recursive: true, encoding: "utf8" })
    .filter((name) => /\.c?ts$/.test(name))
    .map((name) => `${folder}/${name.replaceAll(path.sep, "/")}`),
);
const sources = new Map(files.map((file) => [file, fs.readFileSync(path.join(root, file), "utf8")]));

/** A way along `edges` from a node back to itself; undefined if there is none. */
function cycleIn(edges: ReadonlyMap<string, ReadonlySet<string>>): string[] | undefined {
  const done = new Set<string>();
  const way: string[] = [];
  const visit = (node: string): string[] | undefined => {
    if (way.includes(node)) return [...way.slice(way.indexOf(node)), node];
    if (done.has(node)) return undefined;
    way.push(node);
    for (const next of edges.get(node) ?? []) {
      const cycle = visit(next);
      if (cycle !== undefined) return cycle;
    }
    way.pop();
    done.add(node);
    return undefined;
  };
  for (const node of edges.keys()) {
    const cycle = visit(node);
    if (cycle !== undefined) return cycle;
  }
  return undefined;
}

/** What each file needs at run time, and what each room knows at all. */
function graphs(texts: ReadonlyMap<string, string>) {
  const byFile = new Map<string, Set<string>>();
  const byRoom = new Map<string, Set<string>>();
  for (const [file, source] of texts) {
    const needs = new Set<string>();
    const room = roomOf(file)?.at ?? file;
    const knows = byRoom.get(room) ?? new Set<string>();
    byFile.set(file, needs);
    byRoom.set(room, knows);
    for (const { specifier, typeOnly } of importsOf(source)) {
      const { kind, name } = target(file, specifier);
      if (kind === "package") continue;
      if (!typeOnly) needs.add(name);
      const other = roomOf(name)?.at ?? name;
      if (other !== room) knows.add(other);
    }
  }
  return { byFile, byRoom };
}

describe("the tree", () => {
  test("every import is one that its room allows", () => {
    expect(files.length).toBeGreaterThan(30);
    expect([...sources].flatMap(([file, source]) => violations(file, source))).toEqual([]);
  });

  test("every import of ours names a file that is there", () => {
    const missing = [...sources].flatMap(([file, source]) =>
      importsOf(source)
        .map(({ specifier }) => target(file, specifier))
        .filter(({ kind, name }) => kind === "file" && !sources.has(name))
        .map(({ name }) => `${file} imports ${name}`),
    );
    expect(missing).toEqual([]);
  });

  test("no file needs itself at run time, by whatever way", () => {
    expect(cycleIn(graphs(sources).byFile)).toBeUndefined();
  });

  test("no room knows itself through another one", () => {
    expect(cycleIn(graphs(sources).byRoom)).toBeUndefined();
  });

  test("the table says what docs/architecture.md says", () => {
    const page = fs.readFileSync(path.join(root, "docs/architecture.md"), "utf8");
    for (const room of ["src/base", "src/record", "src/log", "src/broker", "src/protocol/amqp/codec", "src/protocol/amqp", "src/stream"]) {
      expect(page).toContain(`| ${room} |`);
    }
  });
});

describe("what the check refuses", () => {
  test.each([
    ["src/base/x.ts", 'import { Address } from "../record/address.ts";'],
    ["src/base/x.ts", 'import { z } from "zod";'],
    ["src/record/x.ts", 'export type { Broker } from "../broker/contract.ts";'],
    ["src/broker/x.ts", 'import type { Frame } from "../protocol/amqp/codec/frame.ts";'],
    ["src/broker/x.ts", 'import { map } from "rxjs";'],
    ["src/stream/x.ts", 'import { openEmbeddedLog } from "../log/embedded/embeddedLog.ts";'],
    ["src/stream/x.ts", 'const lake = await import("../../connectors/parquet/index.ts");'],
    ["src/stream/x.ts", 'type P = import("../../connectors/parquet/index.ts").Parquet;'],
    ["src/stream/x.ts", 'import {\n  a,\n  b as c,\n} from "../broker/contract.ts";'],
    ["src/log/x.ts", 'export * from "../stream/contract/sink.ts";'],
    ["src/log/contract/x.ts", 'import "../embedded/segment.ts";'],
    ["src/protocol/amqp/codec/x.ts", 'import { openBroker } from "../../../broker/broker.ts";'],
    ["src/config/x.ts", 'import { openBroker } from "../broker/broker.ts";'],
    ["connectors/parquet/x.ts", 'import { openEmbeddedLog } from "../../src/log/embedded/embeddedLog.ts";'],
    ["connectors/parquet/x.ts", 'import { pipeline } from "../../src/index.ts";'],
    ["connectors/parquet/x.ts", 'const w = new Worker(new URL("../../src/server/pipelineWorker.js", import.meta.url));'],
    ["pipelines/x.ts", 'import { pipeline } from "../src/index.ts";'],
    ["src/newRoom/x.ts", ""],
  ])("%s: %s", (file, source) => {
    expect(violations(file, source)).toHaveLength(1);
  });

  test("what stands in a comment is no import", () => {
    expect(violations("src/base/x.ts", '// import { a } from "../broker/a.ts";\n/* import("../broker/b.ts") */')).toEqual([]);
  });

  test("a cycle of files, unless it is one of types only", () => {
    const a = ["src/log/a.ts", 'import { b } from "./b.ts";'] as const;
    expect(cycleIn(graphs(new Map([a, ["src/log/b.ts", 'import { a } from "./a.ts";']])).byFile)).toHaveLength(3);
    expect(cycleIn(graphs(new Map([a, ["src/log/b.ts", 'import type { a } from "./a.ts";']])).byFile)).toBeUndefined();
  });

  test("a cycle of rooms", () => {
    const texts = new Map([
      ["src/log/a.ts", 'import type { x } from "../broker/x.ts";'],
      ["src/broker/y.ts", 'import type { z } from "../log/z.ts";'],
    ]);
    expect(cycleIn(graphs(texts).byRoom)).toEqual(["src/log", "src/broker", "src/log"]);
  });
});
