import type { ColumnType, RowColumn, RowSchema } from "../contract/columns.ts";
import type { Schema } from "./schema.ts";

/** Where dates and bigints are in a value: JSON has neither, so that the codec makes them from text and numbers. */
export type Revival =
  | { readonly kind: "date" | "bigint" }
  | { readonly kind: "object"; readonly properties: readonly (readonly [name: string, revival: Revival])[] }
  | { readonly kind: "list"; readonly items: Revival };

export interface SchemaShape {
  /** undefined: the schema can't be described (no `~standard.jsonSchema`, or not an object): rows are looked at instead. */
  readonly columns: RowSchema | undefined;
  /** Properties that have no column type (objects, lists, unions). */
  readonly withoutColumn: readonly string[];
  /** All properties that a value can have; undefined: it may have others. */
  readonly properties: readonly string[] | undefined;
  readonly revival: Revival | undefined;
  readonly hasBigint: boolean;
}

interface JsonSchema {
  readonly type?: string | readonly string[];
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: unknown;
  readonly items?: JsonSchema;
  readonly anyOf?: readonly JsonSchema[];
  readonly format?: string;
  readonly minimum?: number;
  readonly maximum?: number;
}

const unknownShape: SchemaShape = { columns: undefined, withoutColumn: [], properties: undefined, revival: undefined, hasBigint: false };
const DATE_FORMAT = "millrace-date";
const BIGINT_FORMAT = "millrace-bigint";
const shapes = new WeakMap<object, SchemaShape>();

/** Columns and revival of a schema's output; worked out once a schema. */
export function shapeOf(schema: Schema): SchemaShape {
  let shape = shapes.get(schema);
  if (shape === undefined) {
    shape = deriveShape(schema);
    shapes.set(schema, shape);
  }
  return shape;
}

function deriveShape(schema: Schema): SchemaShape {
  const described = describe(schema);
  if (described === undefined) return unknownShape;
  const revival = revivalOf(described);
  const hasBigint = revival !== undefined && contains(revival, "bigint");
  if (described.properties === undefined) return { ...unknownShape, revival, hasBigint };
  const columns: RowColumn[] = [];
  const withoutColumn: string[] = [];
  for (const [name, property] of Object.entries(described.properties)) {
    const { inner, nullable } = withoutNull(property);
    const type = columnTypeOf(inner);
    if (type === undefined) withoutColumn.push(name);
    else columns.push({ name, type, optional: nullable || !(described.required ?? []).includes(name) });
  }
  const properties = described.additionalProperties === false ? Object.keys(described.properties) : undefined;
  return { columns, withoutColumn, properties, revival, hasBigint };
}

interface ZodFound {
  readonly zodSchema: { readonly _zod: { readonly def: { readonly type: string } } };
  readonly jsonSchema: { format?: string };
}

function markDatesAndBigints({ zodSchema, jsonSchema }: ZodFound): void {
  const { type } = zodSchema._zod.def;
  if (type === "date") jsonSchema.format = DATE_FORMAT;
  if (type === "bigint") jsonSchema.format = BIGINT_FORMAT;
}

/** zod throws on Date and bigint, which JSON Schema doesn't know, unless told to go on; the override then marks them. */
function describe(schema: Schema): JsonSchema | undefined {
  const standard = schema["~standard"] as Schema["~standard"] & {
    readonly jsonSchema?: { output(options: object): JsonSchema };
  };
  if (standard.jsonSchema === undefined) return undefined;
  try {
    return standard.jsonSchema.output({
      target: "draft-2020-12",
      libraryOptions: { unrepresentable: "any", override: markDatesAndBigints },
    });
  } catch {
    return undefined; // a vendor that can't describe this schema: its rows are looked at instead
  }
}

function withoutNull(schema: JsonSchema): { inner: JsonSchema; nullable: boolean } {
  if (Array.isArray(schema.type) && schema.type.includes("null")) {
    const types = schema.type.filter((type) => type !== "null");
    return { inner: { ...schema, type: types.length === 1 ? (types[0] as string) : types }, nullable: true };
  }
  const others = schema.anyOf?.filter((option) => option.type !== "null");
  const [only] = others ?? [];
  if (others?.length === 1 && only !== undefined) return { inner: only, nullable: others.length !== schema.anyOf?.length };
  return { inner: schema, nullable: false };
}

function columnTypeOf(schema: JsonSchema): ColumnType | undefined {
  if (schema.format === DATE_FORMAT) return "timestamp";
  if (schema.format === BIGINT_FORMAT) return "int64";
  if (schema.type === "integer") return schema.minimum === -2147483648 && schema.maximum === 2147483647 ? "int32" : "int64";
  if (schema.type === "number") return "double";
  if (schema.type === "string" || schema.type === "boolean") return schema.type;
  return undefined;
}

function revivalOf(schema: JsonSchema): Revival | undefined {
  const { inner } = withoutNull(schema);
  if (inner.format === DATE_FORMAT) return { kind: "date" };
  if (inner.format === BIGINT_FORMAT) return { kind: "bigint" };
  if (inner.items !== undefined) {
    const items = revivalOf(inner.items);
    return items === undefined ? undefined : { kind: "list", items };
  }
  const properties: (readonly [string, Revival])[] = [];
  for (const [name, property] of Object.entries(inner.properties ?? {})) {
    const revival = revivalOf(property);
    if (revival !== undefined) properties.push([name, revival]);
  }
  return properties.length === 0 ? undefined : { kind: "object", properties };
}

function contains(revival: Revival, kind: "bigint"): boolean {
  if (revival.kind === "object") return revival.properties.some(([, inner]) => contains(inner, kind));
  return revival.kind === "list" ? contains(revival.items, kind) : revival.kind === kind;
}
