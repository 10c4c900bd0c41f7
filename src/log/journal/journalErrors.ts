import { MillraceError } from "../../base/errors.ts";

export const journalClosed = (): MillraceError =>
  new MillraceError("JOURNAL_CLOSED", "The queues' journal is closed.", { domain: "internal" });

export const journalFailed = (where: string, cause: unknown): MillraceError =>
  new MillraceError(
    "JOURNAL_FAILED",
    "A write of the queues' journal failed; what was in flight is kept whole, or once, or never: nobody knows.",
    {
      domain: "external",
      retryable: true,
      where,
      cause,
      hint: "Look after the disk; the journal tries again by itself. What was confirmed before is there and can be read.",
    },
  );

export function messageTooLarge(entryBytes: number, messageBytesMax: number, entryBytesMax: number): MillraceError {
  return new MillraceError("MESSAGE_TOO_LARGE", `A message takes ${entryBytes} bytes in the journal; that is too large.`, {
    domain: "user",
    hint: `At most ${messageBytesMax} bytes of content, and ${entryBytesMax} with address and destinations, fit into a journal file.`,
  });
}
