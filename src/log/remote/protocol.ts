/**
 * How a log is used from another thread: requests with an id go one way over a MessagePort, answers with the same id the other. Records
 * cross as one encoded batch, transferred, not copied. Reading does not pass here: a reader opens the files itself.
 */
import type { ErrorDomain } from "../../base/errors.ts";
import { MillraceError } from "../../base/errors.ts";
import type { ProducerIdentity, TopicConfig, TopicDescription } from "../contract/partitionedLog.ts";

export interface Calls {
  createTopic: { readonly arguments: { readonly name: string; readonly config: Partial<TopicConfig> }; readonly result: TopicDescription };
  describeTopic: { readonly arguments: { readonly name: string }; readonly result: TopicDescription | undefined };
  append: {
    readonly arguments: {
      readonly producer: ProducerIdentity;
      readonly topic: string;
      readonly partition: number;
      readonly sequence: number;
      /** A record batch; only its records count. Empty: no records. */
      readonly batch: ArrayBuffer;
    };
    readonly result: undefined;
  };
  producerState: {
    readonly arguments: { readonly name: string; readonly topic: string; readonly partition: number };
    readonly result: { readonly epoch: number; readonly nextSequence: number } | undefined;
  };
  sync: { readonly arguments: { readonly topic: string }; readonly result: undefined };
}

export type Call = keyof Calls;

export type Request = { [C in Call]: { readonly id: number; readonly call: C; readonly arguments: Calls[C]["arguments"] } }[Call];

export type Answer = { readonly id: number } & ({ readonly result: unknown } | { readonly error: CrossedError });

/** An error as data: structured clone would keep its text only. */
export interface CrossedError {
  readonly code: string;
  readonly message: string;
  readonly domain: ErrorDomain;
  readonly retryable: boolean;
  readonly where: string | undefined;
  readonly hint: string | undefined;
  readonly readableFrom: number | undefined;
  readonly cause: string | undefined;
}

export function crossError(error: unknown): CrossedError {
  if (!(error instanceof MillraceError)) {
    const message = error instanceof Error ? error.message : String(error);
    const unknown = { where: undefined, hint: undefined, readableFrom: undefined, cause: undefined };
    return { code: "LOG_CALL_FAILED", message, domain: "internal", retryable: false, ...unknown };
  }
  const { code, message, domain, retryable, where, hint, readableFrom, cause } = error;
  const causeText = cause instanceof Error ? cause.message : cause === undefined ? undefined : String(cause);
  return { code, message, domain, retryable, where, hint, readableFrom, cause: causeText };
}

export function uncrossError({ code, message, domain, retryable, where, hint, readableFrom, cause }: CrossedError): MillraceError {
  return new MillraceError(code, message, {
    domain,
    retryable,
    ...(where !== undefined && { where }),
    ...(hint !== undefined && { hint }),
    readableFrom,
    ...(cause !== undefined && { cause }),
  });
}
