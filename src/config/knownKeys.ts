import { nearest } from "../base/nearest.ts";
import { dotted, keyName } from "./names.ts";
import type { Problem } from "./problem.ts";
import { elementOf, leavesOf, metaOf, type Schema, shapeOf } from "./schemaTree.ts";

/** How the keys of a tree are spelled, and where they stand. */
export interface Spelling {
  nameOf(key: string): string;
  whereIsKey(at: readonly PropertyKey[]): string;
}

/** The tree with its keys as the code spells them; each unknown key is a problem, with the nearest known one. */
export function knownTree(
  schema: Schema,
  value: unknown,
  spelling: Spelling,
  problems: Problem[],
  at: readonly PropertyKey[] = [],
): unknown {
  const element = elementOf(schema);
  if (element !== undefined && Array.isArray(value)) {
    return value.map((item, index) => knownTree(element, item, spelling, problems, [...at, index]));
  }
  const shape = shapeOf(schema);
  if (shape === undefined || typeof value !== "object" || value === null || Array.isArray(value)) return value;
  const known = new Map(keysOf(shape).map((key) => [spelling.nameOf(key), key]));
  const result: Record<string, unknown> = {};
  for (const [written, inner] of Object.entries(value)) {
    const key = known.get(written);
    if (key === undefined) problems.push(unknownKey(written, at, [...known.keys()], schema, spelling));
    else result[key] = shape[key] === undefined ? inner : knownTree(shape[key], inner, spelling, problems, [...at, key]);
  }
  return result;
}

const keysOf = (shape: Readonly<Record<string, Schema>>): string[] =>
  Object.entries(shape).flatMap(([key, inner]) => (metaOf(inner).secret ? [key, `${key}File`] : [key]));

function unknownKey(
  written: string,
  at: readonly PropertyKey[],
  known: readonly string[],
  schema: Schema,
  { nameOf, whereIsKey }: Spelling,
): Problem {
  const deeper = leavesOf(schema).find((leaf) => leaf.path.at(-1) === written || keyName(leaf.path.at(-1) ?? "") === written);
  const meant = nearest(written, known) ?? deeper?.path.map(nameOf).join(".");
  const what = `unknown key '${[...dottedParts(at, nameOf), written].join(".")}'`;
  return {
    code: "CONFIG_UNKNOWN_KEY",
    what: meant === undefined ? what : `${what}; did you mean '${meant}'?`,
    where: whereIsKey([...at, written]),
    hint: meant === undefined ? `Known ${at.length === 0 ? "here" : `in '${dotted(at)}'`}: ${known.join(", ")}.` : undefined,
  };
}

const dottedParts = (at: readonly PropertyKey[], nameOf: (key: string) => string): string[] =>
  at.map((key) => (typeof key === "string" ? nameOf(key) : String(key)));
