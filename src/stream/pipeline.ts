import type { Observable } from "rxjs";
import type { NoBadColumn } from "./contract/rows.ts";
import type { Sink } from "./contract/sink.ts";
import type { Output } from "./operators/types.ts";
import type { Schema } from "./schema/schema.ts";
import type { Duration, Instant } from "./time.ts";
import { checkName, type Source } from "./topic.ts";

/** Event time is in the record. */
export interface EventTimeOptions<T> {
  readonly eventTime: (value: T) => Instant;
  /** How far a record may be behind the latest one of its partition and still be in time. */
  readonly outOfOrderness: Duration;
  /** A partition that has been silent this long no longer holds the windows back. Without it they wait for every partition. */
  readonly idleAfter?: Duration;
}

/** Event time is when the record was taken in. */
export interface IngestionTimeOptions {
  readonly idleAfter?: Duration;
}

/** What a pipeline is made with. */
export interface Builder {
  /** A topic's records as a stream. Using the stream twice reads once. */
  source<T>(from: Source<T>, options?: EventTimeOptions<T> | IngestionTimeOptions): Observable<T>;
  /** A side output, for records that come too late. */
  // biome-ignore lint/suspicious/noExplicitAny: the schema's input is of no interest here.
  output<T>(id: string, schema: Schema<any, T>): Output<T>;
  /** Writes a stream's rows, each exactly once. */
  sink<T, W>(
    rows: Observable<T> & (W extends "columns" ? NoBadColumn<T> : unknown),
    to: Sink<T, W>,
    options?: { readonly id?: string },
  ): void;
}

export interface Pipeline {
  readonly kind: "pipeline";
  readonly name: string;
  /** Called for each start and restart; always makes the same streams. */
  readonly build: (builder: Builder) => void;
}

/** Room for ".dead" within a topic's name. */
const legalName = /^[A-Za-z0-9._-]{1,200}$/;

/** A pipeline: its name is also that of its checkpoint and of its dead topic. */
export function pipeline(name: string, build: (builder: Builder) => void): Pipeline {
  checkName("pipeline", name, legalName);
  return { kind: "pipeline", name, build };
}
