import type { Sink } from "./contract/sink.ts";
import { buildError } from "./engine/buildError.ts";
import { JsonCodec } from "./schema/jsonCodec.ts";
import type { Schema } from "./schema/schema.ts";
import { TopicWriter } from "./topicWriter.ts";

/** Where a pipeline reads from. */
export interface Source<out T> {
  readonly kind: string;
  readonly name: string;
  /** Phantom: what it gives. Never called. */
  readonly gives?: () => T;
}

/** A topic as a value: a source, a sink, and what tests send to. Records are JSON of the schema's output. */
export interface Topic<in out T> extends Source<T>, Sink<T> {
  readonly kind: "sink";
  readonly schema: Schema<unknown, T>;
  readonly codec: JsonCodec<T>;
}

const legalName = /^[A-Za-z0-9._-]{1,249}$/;

/** The topic of this name, with records of this schema. As a sink it is created when it is not there. */
// biome-ignore lint/suspicious/noExplicitAny: the schema's input is of no interest here.
export function topic<T>(name: string, schema: Schema<any, T>): Topic<T> {
  checkName("topic", name, legalName);
  const codec = new JsonCodec<T>(schema);
  return {
    kind: "sink",
    name,
    wants: "anything",
    schema,
    codec,
    open: (context) => TopicWriter.open(context, name, (row) => codec.encode(row as T)),
  };
}

/** Names that are also names of topics and files. */
export function checkName(what: string, name: string, legal: RegExp): void {
  if (legal.test(name) && name !== "." && name !== "..") return;
  throw buildError("NAME_INVALID", `The ${what} name ${JSON.stringify(name)} is not legal.`, "Use letters, digits, '.', '_' and '-'.");
}
