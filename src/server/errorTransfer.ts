/** Errors over a thread boundary or a socket: structured clone would keep only the text. */
import { MillraceError, toMillraceError } from "../base/errors.ts";

export interface ErrorParts {
  readonly code: string;
  readonly message: string;
  readonly domain: MillraceError["domain"];
  readonly retryable: boolean;
  readonly where?: string;
  readonly hint?: string;
  readonly because?: string;
}

export function toParts(error: unknown, code: string, what: string): ErrorParts {
  const known = toMillraceError(error, code, what, { domain: "external" });
  const { where, hint, cause } = known;
  return {
    code: known.code,
    message: known.message,
    domain: known.domain,
    retryable: known.retryable,
    ...(where === undefined ? {} : { where }),
    ...(hint === undefined ? {} : { hint }),
    ...(cause === undefined ? {} : { because: cause instanceof Error ? cause.message : String(cause) }),
  };
}

export function fromParts(parts: ErrorParts): MillraceError {
  const { code, message, because, ...details } = parts;
  return new MillraceError(code, message, { ...details, ...(because === undefined ? {} : { cause: because }) });
}
