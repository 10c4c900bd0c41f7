/**
 * The configuration from all its sources: flag > environment > file > options of the caller > default.
 * What nobody knows is refused, with the nearest known name; the result is frozen.
 */
import path from "node:path";
import type { z } from "zod";
import { ConfigFile } from "./file.ts";
import { knownTree } from "./knownKeys.ts";
import { dotted, keyName } from "./names.ts";
import { type Problem, throwIfAny } from "./problem.ts";
import { elementOf, metaOf, type Schema, schemaAt, shapeOf } from "./schemaTree.ts";
import { readSecrets } from "./secrets.ts";
import { type Flag, type Setting, settingsOfEnvironment, settingsOfFlags } from "./settings.ts";
import { unitHint, withoutUnit } from "./units.ts";

export interface ConfigSources {
  readonly file?: { readonly path: string; readonly text: string } | undefined;
  /** What the caller passed: the shape of the file, as an object. */
  readonly options?: object | undefined;
  readonly environment?: Readonly<Record<string, string | undefined>> | undefined;
  readonly flags?: readonly Flag[] | undefined;
  /** Relative paths that are not said in a file count from here. */
  readonly workingDirectory: string;
}

type Tree = Record<string, unknown>;

export function loadConfig<S extends z.ZodObject>(schema: S, sources: ConfigSources): Readonly<z.output<S>> {
  const file = sources.file === undefined ? undefined : new ConfigFile(sources.file.path, sources.file.text);
  const problems: Problem[] = [];
  const settings = [
    ...settingsOfEnvironment(schema, sources.environment ?? {}, problems),
    ...settingsOfFlags(schema, sources.flags ?? [], problems),
  ];
  const places = new Places(file, settings);
  const inOptions = knownTree(schema, sources.options ?? {}, { nameOf: (key) => key, whereIsKey: () => "the options" }, problems);
  const inFile =
    file === undefined ? {} : knownTree(schema, file.tree, { nameOf: keyName, whereIsKey: (at) => file.whereIsKey(at) }, problems);
  if (file !== undefined && !isTree(file.tree)) throwIfAny([...problems, noMapping(file)]);

  const tree = merged(inOptions, inFile) as Tree;
  for (const setting of settings) put(tree, setting.path, setting.value);
  const given = normalised(
    schema,
    readSecrets(schema, tree, {
      directoryOf: (at) => places.directoryOf(at, sources.workingDirectory),
      whereIs: (at) => places.whereIs(at),
      problems,
    }),
    "",
  );
  const result = schema.safeParse(given);
  // what is missing may be there under the unknown key
  const issues = (result.error?.issues ?? []).filter((issue) => problems.length === 0 || !isMissing(issue));
  throwIfAny([...problems, ...issues.map((issue) => invalid(issue, schema, places))]);
  return deepFreeze(absolutePaths(schema, result.data, [], (at) => places.directoryOf(at, sources.workingDirectory))) as z.output<S>;
}

/** Says where a value came from. */
class Places {
  constructor(
    private readonly file: ConfigFile | undefined,
    private readonly settings: readonly Setting[],
  ) {}

  whereIs(at: readonly PropertyKey[]): string {
    return this.setting(at)?.origin ?? (this.file?.has(at.slice(0, 1)) ? this.file.whereIs(at) : "the options");
  }

  directoryOf(at: readonly PropertyKey[], workingDirectory: string): string {
    if (this.file === undefined || this.setting(at) !== undefined || !this.file.has(at)) return workingDirectory;
    return path.resolve(workingDirectory, path.dirname(this.file.path));
  }

  /** The last one wins: flags stand behind the environment. */
  private setting(at: readonly PropertyKey[]): Setting | undefined {
    return this.settings.findLast((setting) => setting.path.every((key, index) => at[index] === key));
  }
}

function invalid(issue: z.core.$ZodIssue, root: Schema, places: Places): Problem {
  const schema = schemaAt(root, issue.path);
  const description = schema === undefined ? undefined : metaOf(schema).description;
  return {
    code: "CONFIG_INVALID",
    what: issue.path.length === 0 ? issue.message : `'${dotted(issue.path)}': ${inWords(issue)}`,
    where: places.whereIs(issue.path),
    hint: description === undefined ? undefined : `It means: ${description.replace(/\.$/, "")}.${unitHint(issue.path.at(-1))}`,
  };
}

const inWords = (issue: z.core.$ZodIssue): string => (isMissing(issue) ? "it is missing" : issue.message);

const isMissing = ({ code, message }: z.core.$ZodIssue): boolean => code === "invalid_type" && message.endsWith("received undefined");

const noMapping = (file: ConfigFile): Problem => ({
  code: "CONFIG_INVALID",
  what: "the file is not a set of keys",
  where: file.whereIs([]),
  hint: "Write keys with values, for example 'data: ./data'.",
});

/** `upper` over `lower`, key by key; lists and values replace each other whole. */
function merged(lower: unknown, upper: unknown): unknown {
  if (!isTree(lower) || !isTree(upper)) return structuredClone(upper === undefined ? lower : upper);
  const keys = new Set([...Object.keys(lower), ...Object.keys(upper)]);
  return Object.fromEntries([...keys].map((key) => [key, merged(lower[key], upper[key])]));
}

function put(tree: Tree, at: readonly string[], value: unknown): void {
  const [key, ...rest] = at as [string, ...string[]];
  if (rest.length === 0) {
    tree[key] = value;
    return;
  }
  const inner = isTree(tree[key]) ? tree[key] : {};
  tree[key] = inner;
  put(inner, rest, value);
}

/** Units away; a section that is there but empty (`log:`) counts as not there. */
function normalised(schema: Schema, value: unknown, key: string): unknown {
  const element = elementOf(schema);
  if (element !== undefined && Array.isArray(value)) return value.map((item) => normalised(element, item, key));
  const shape = shapeOf(schema);
  if (shape === undefined) return withoutUnit(key, value);
  if (!isTree(value)) return value ?? undefined;
  return Object.fromEntries(
    Object.entries(value).map(([name, inner]) => [name, name in shape ? normalised(shape[name] as Schema, inner, name) : inner]),
  );
}

function absolutePaths(
  schema: Schema,
  value: unknown,
  at: readonly PropertyKey[],
  directoryOf: (at: readonly PropertyKey[]) => string,
): unknown {
  if (typeof value === "string") return metaOf(schema).path ? path.resolve(directoryOf(at), value) : value;
  const element = elementOf(schema);
  if (element !== undefined && Array.isArray(value)) {
    return value.map((item, index) => absolutePaths(element, item, [...at, index], directoryOf));
  }
  const shape = shapeOf(schema);
  if (shape === undefined || !isTree(value)) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, inner]) => [name, absolutePaths(shape[name] as Schema, inner, [...at, name], directoryOf)]),
  );
}

const isTree = (value: unknown): value is Tree => typeof value === "object" && value !== null && !Array.isArray(value);

function deepFreeze<T>(value: T): T {
  if (typeof value === "object" && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    for (const inner of Object.values(value)) deepFreeze(inner);
  }
  return value;
}
