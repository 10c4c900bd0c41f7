import fs from "node:fs";
import path from "node:path";
import { dotted } from "./names.ts";
import { type Problem, throwIfAny } from "./problem.ts";
import { elementOf, metaOf, type Schema, shapeOf } from "./schemaTree.ts";

/** Replaces `<key>File` by the content of that file, without the line end, for every key that is a secret. */
export function readSecrets(schema: Schema, tree: unknown, directoryOf: (at: readonly PropertyKey[]) => string): unknown {
  const problems: Problem[] = [];
  const result = replaced(schema, tree, [], (file, at) => readSecret(path.resolve(directoryOf(at), file), at, problems));
  throwIfAny(problems);
  return result;
}

type Read = (file: string, at: readonly PropertyKey[]) => string;

function replaced(schema: Schema, value: unknown, at: readonly PropertyKey[], read: Read): unknown {
  const element = elementOf(schema);
  if (element !== undefined && Array.isArray(value)) return value.map((item, index) => replaced(element, item, [...at, index], read));
  const shape = shapeOf(schema);
  if (shape === undefined || typeof value !== "object" || value === null) return value;
  const result: Record<string, unknown> = {};
  for (const [key, inner] of Object.entries(value)) {
    const known = shape[key];
    if (known !== undefined) result[key] ??= replaced(known, inner, [...at, key], read);
    else if (isSecretFile(shape, key) && typeof inner === "string") result[key.slice(0, -"File".length)] = read(inner, [...at, key]);
    else result[key] = inner;
  }
  return result;
}

const isSecretFile = (shape: Readonly<Record<string, Schema>>, key: string): boolean => {
  const secret = key.endsWith("File") ? shape[key.slice(0, -"File".length)] : undefined;
  return secret !== undefined && metaOf(secret).secret === true;
};

function readSecret(file: string, at: readonly PropertyKey[], problems: Problem[]): string {
  try {
    return fs.readFileSync(file, "utf8").replace(/\r?\n$/, "");
  } catch (error) {
    problems.push({
      code: "CONFIG_UNREADABLE",
      what: `'${dotted(at)}': cannot read the secret: ${(error as Error).message}`,
      where: file,
      hint: "Name a file that the node's user may read.",
    });
    return "";
  }
}
