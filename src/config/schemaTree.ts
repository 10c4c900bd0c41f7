/** Reads the shape of a zod schema: which keys an object has, which values a list holds. */
import type { z } from "zod";

export type Schema = z.core.$ZodType;

/** What a schema says about its key beyond the type: set with `.meta({ ... })` by the layer that owns it. */
export interface KeyMeta {
  /** The value is a path: a relative one counts from the file that says it, or from the working directory. */
  readonly path?: true;
  /** The value is a secret: it can also come from a file, under the same name with `File` at the end. */
  readonly secret?: true;
  readonly description?: string;
}

/** Without default, optional, nullable and the like around it. */
function unwrapped(schema: Schema): Schema {
  const inner = (schema._zod.def as { innerType?: Schema; in?: Schema }).innerType ?? (schema._zod.def as { in?: Schema }).in;
  return inner === undefined ? schema : unwrapped(inner);
}

export const typeOf = (schema: Schema): string => unwrapped(schema)._zod.def.type;

/** The keys of an object schema; undefined for anything else. */
export function shapeOf(schema: Schema): Readonly<Record<string, Schema>> | undefined {
  const { def } = unwrapped(schema)._zod;
  return def.type === "object" ? (def as z.core.$ZodObjectDef).shape : undefined;
}

export function elementOf(schema: Schema): Schema | undefined {
  const { def } = unwrapped(schema)._zod;
  return def.type === "array" ? (def as z.core.$ZodArrayDef).element : undefined;
}

/** The meta of the schema or, failing that, of what it wraps. */
export function metaOf(schema: Schema): KeyMeta {
  const own = (schema as Partial<z.ZodType>).meta?.() as KeyMeta | undefined;
  if (own !== undefined) return own;
  const inner = (schema._zod.def as { innerType?: Schema }).innerType;
  return inner === undefined ? {} : metaOf(inner);
}

/** The schema of the value at a path (a number is a place in a list); undefined where there is no such key. */
export function schemaAt(root: Schema, path: readonly PropertyKey[]): Schema | undefined {
  let schema: Schema | undefined = root;
  for (const key of path) {
    if (schema === undefined) return undefined;
    schema = typeof key === "number" ? elementOf(schema) : shapeOf(schema)?.[String(key)];
  }
  return schema;
}

export interface Leaf {
  readonly path: readonly string[];
  readonly schema: Schema;
}

/** Every key that holds a value of its own, depth first: objects are sections, all else is a leaf. */
export function leavesOf(schema: Schema, path: readonly string[] = []): Leaf[] {
  const shape = shapeOf(schema);
  if (shape === undefined) return [{ path, schema }];
  return Object.entries(shape).flatMap(([key, inner]) => leavesOf(inner, [...path, key]));
}
