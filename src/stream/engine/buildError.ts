import { MillraceError } from "../../base/errors.ts";

/** The pipeline's code is wrong; nothing has run. */
export function buildError(code: string, what: string, hint: string): MillraceError {
  return new MillraceError(code, what, { domain: "user", hint });
}
