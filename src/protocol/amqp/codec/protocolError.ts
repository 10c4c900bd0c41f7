import { type ErrorDomain, MillraceError } from "../../../base/errors.ts";
import { type ReplyName, replies } from "./protocol.ts";

/** An error as the protocol names it; closes the channel or the whole connection (`replies`). */
export class ProtocolError extends MillraceError {
  constructor(
    readonly reply: ReplyName,
    what: string,
    details: { readonly domain?: ErrorDomain; readonly cause?: unknown } = {},
  ) {
    super(`AMQP_${reply}`, what, { domain: details.domain ?? "user", cause: details.cause });
  }

  get replyCode(): number {
    return replies[this.reply].code;
  }

  get closesConnection(): boolean {
    return replies[this.reply].closes === "connection";
  }
}
