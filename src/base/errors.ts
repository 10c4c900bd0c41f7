/** Who has to act: the user (input, configuration), the world outside (disk, network, another server), or we (a bug). */
export type ErrorDomain = "user" | "external" | "internal";

export interface ErrorDetails {
  readonly domain: ErrorDomain;
  /** Can the same call succeed later without anything being changed? */
  readonly retryable?: boolean;
  /** Where: a file with line and column, a topic and offset, a frame. */
  readonly where?: string;
  /** What to do next, in one sentence. */
  readonly hint?: string;
  /** Of something damaged that is read: the next offset that can be read. */
  readonly readableFrom?: number | undefined;
  readonly cause?: unknown;
}

/**
 * The one error class of the platform. Callers branch on `code` (stable, SCREAMING_SNAKE, unique over all rooms),
 * `domain` and `retryable`; never on the text.
 */
export class MillraceError extends Error {
  override readonly name = "MillraceError";
  readonly code: string;
  readonly domain: ErrorDomain;
  readonly retryable: boolean;
  readonly where: string | undefined;
  readonly hint: string | undefined;
  readonly readableFrom: number | undefined;

  constructor(code: string, what: string, details: ErrorDetails) {
    super(what, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    this.domain = details.domain;
    this.retryable = details.retryable ?? false;
    this.where = details.where;
    this.hint = details.hint;
    this.readableFrom = details.readableFrom;
  }

  /** What, where, why and what to do next, as lines for a person. */
  toText(): string {
    const lines = [`${this.code}: ${this.message}`];
    if (this.where !== undefined) lines.push(`  at ${this.where}`);
    if (this.cause !== undefined) lines.push(`  because ${causeText(this.cause)}`);
    if (this.hint !== undefined) lines.push(`  ${this.hint}`);
    return lines.join("\n");
  }
}

/** An error of unknown origin as one of ours; ours pass as they are. */
export function toMillraceError(error: unknown, code: string, what: string, details: ErrorDetails): MillraceError {
  return error instanceof MillraceError ? error : new MillraceError(code, what, { ...details, cause: error });
}

/** For our own bugs only: the world's failures are MillraceErrors. */
export function assert(condition: unknown, what: string): asserts condition {
  if (!condition) throw new MillraceError("ASSERTION_FAILED", what, { domain: "internal" });
}

function causeText(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}
