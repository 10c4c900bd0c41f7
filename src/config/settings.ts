/** Flags and environment variables: each sets one leaf of the configuration. */
import { parse } from "yaml";
import { nearest } from "../base/nearest.ts";
import { environmentName, flagName } from "./names.ts";
import type { Problem } from "./problem.ts";
import { type Leaf, leavesOf, metaOf, type Schema, typeOf } from "./schemaTree.ts";

export interface Setting {
  readonly path: readonly string[];
  readonly value: unknown;
  /** "--log.segment-bytes" or "the environment variable MILLRACE_LOG_SEGMENT_BYTES". */
  readonly origin: string;
}

export interface Flag {
  readonly name: string;
  readonly value: string;
}

/** Variables of the same prefix that are no configuration. */
const otherVariables = new Set(["MILLRACE_CONFIG", "MILLRACE_CRASH_AT", "MILLRACE_SYSTEMS"]);

export function settingsOfFlags(root: Schema, flags: readonly Flag[], problems: Problem[]): Setting[] {
  const leaves = namedLeaves(root, flagName);
  return flags.flatMap((flag) => {
    const leaf = leaves.get(flag.name);
    if (leaf !== undefined) return [{ path: leaf.path, value: valueOf(leaf, flag.value), origin: flag.name }];
    problems.push(unknown(`unknown flag '${flag.name}'`, flag.name, nearest(flag.name, leaves.keys())));
    return [];
  });
}

export function settingsOfEnvironment(
  root: Schema,
  environment: Readonly<Record<string, string | undefined>>,
  problems: Problem[],
): Setting[] {
  const leaves = namedLeaves(root, environmentName);
  return Object.entries(environment).flatMap(([name, text]) => {
    if (!name.startsWith("MILLRACE_") || otherVariables.has(name) || text === undefined) return [];
    const leaf = leaves.get(name);
    const origin = `the environment variable ${name}`;
    if (leaf !== undefined) return [{ path: leaf.path, value: valueOf(leaf, text), origin }];
    problems.push(unknown(`unknown environment variable '${name}'`, "the environment", nearest(name, leaves.keys())));
    return [];
  });
}

function namedLeaves(root: Schema, nameOf: (path: readonly string[]) => string): Map<string, Leaf> {
  const named = new Map<string, Leaf>();
  for (const leaf of leavesOf(root)) {
    named.set(nameOf(leaf.path), leaf);
    if (!metaOf(leaf.schema).secret) continue;
    const path = [...leaf.path.slice(0, -1), `${leaf.path.at(-1)}File`];
    named.set(nameOf(path), { path, schema: leaf.schema });
  }
  return named;
}

/** Text as it stands where the key wants text; a list may be written with commas; all else is read as YAML reads it. */
function valueOf(leaf: Leaf, text: string): unknown {
  const type = typeOf(leaf.schema);
  if (type === "string" || type === "enum" || type === "literal") return text;
  if (type === "array" && !text.trimStart().startsWith("[")) return text === "" ? [] : text.split(",").map((item) => item.trim());
  try {
    return parse(text);
  } catch {
    return text; // the schema says what is wrong with it
  }
}

function unknown(what: string, where: string, meant: string | undefined): Problem {
  return {
    code: "CONFIG_UNKNOWN_KEY",
    what: meant === undefined ? what : `${what}; did you mean '${meant}'?`,
    where,
    hint: meant === undefined ? "docs/configuration.md lists every key." : undefined,
  };
}
