import fs from "node:fs";
import path from "node:path";
import { dotted } from "./names.ts";
import type { Problem } from "./problem.ts";
import { elementOf, metaOf, type Schema, shapeOf } from "./schemaTree.ts";

/** Replaces `<key>File` by the content of that file, without the line end, for every key that is a secret. */
export function readSecrets(
  schema: Schema,
  tree: unknown,
  { directoryOf, whereIs, problems }: { readonly directoryOf: Place; readonly whereIs: Place; readonly problems: Problem[] },
): unknown {
  const read: Read = (file, at, said) => {
    if (said) problems.push(saidTwice(at, whereIs(at)));
    return said ? notRead : readSecret(path.resolve(directoryOf(at), file), at, problems);
  };
  return replaced(schema, tree, [], read);
}

/** In place of a secret that is a problem already: a text, so that its schema has nothing to add. */
const notRead = "not read";

type Place = (at: readonly PropertyKey[]) => string;
/** @param said the secret itself is there too */
type Read = (file: string, at: readonly PropertyKey[], said: boolean) => string;

function replaced(schema: Schema, value: unknown, at: readonly PropertyKey[], read: Read): unknown {
  const element = elementOf(schema);
  if (element !== undefined && Array.isArray(value)) return value.map((item, index) => replaced(element, item, [...at, index], read));
  const shape = shapeOf(schema);
  if (shape === undefined || typeof value !== "object" || value === null) return value;
  const result: Record<string, unknown> = {};
  for (const [key, inner] of Object.entries(value)) {
    const known = shape[key];
    if (known !== undefined) result[key] = replaced(known, inner, [...at, key], read);
  }
  for (const [key, inner] of Object.entries(value)) {
    if (shape[key] !== undefined) continue;
    const secret = key.slice(0, -"File".length);
    if (isSecretFile(shape, key) && typeof inner === "string") result[secret] = read(inner, [...at, key], result[secret] !== undefined);
    else result[key] = inner;
  }
  return result;
}

const isSecretFile = (shape: Readonly<Record<string, Schema>>, key: string): boolean => {
  const secret = key.endsWith("File") ? shape[key.slice(0, -"File".length)] : undefined;
  return secret !== undefined && metaOf(secret).secret === true;
};

const saidTwice = (at: readonly PropertyKey[], where: string): Problem => ({
  code: "CONFIG_INVALID",
  what: `'${dotted(at)}' and '${dotted([...at.slice(0, -1), String(at.at(-1)).slice(0, -"File".length)])}' are both there`,
  where,
  hint: "Keep one of them: it is not said which would count.",
});

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
    return notRead;
  }
}
