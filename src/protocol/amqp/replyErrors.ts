import { MillraceError } from "../../base/errors.ts";
import { BrokerErrorCode } from "../../broker/contract.ts";
import type { ReplyName } from "./codec/protocol.ts";
import { ProtocolError } from "./codec/protocolError.ts";

const repliesToBroker: Readonly<Record<BrokerErrorCode, ReplyName>> = {
  [BrokerErrorCode.notFound]: "NOT_FOUND",
  [BrokerErrorCode.accessRefused]: "ACCESS_REFUSED",
  [BrokerErrorCode.preconditionFailed]: "PRECONDITION_FAILED",
  [BrokerErrorCode.resourceLocked]: "RESOURCE_LOCKED",
  [BrokerErrorCode.notImplemented]: "NOT_IMPLEMENTED",
  [BrokerErrorCode.internalError]: "INTERNAL_ERROR",
};

/** Any error as AMQP says it: the broker's by their code, other mistakes of the user are failed preconditions. */
export function toProtocolError(error: unknown): ProtocolError {
  if (error instanceof ProtocolError) return error;
  if (!(error instanceof MillraceError)) return new ProtocolError("INTERNAL_ERROR", "internal error", { domain: "internal", cause: error });
  const known = Object.hasOwn(repliesToBroker, error.code) ? repliesToBroker[error.code as BrokerErrorCode] : undefined;
  const reply = known ?? (error.domain === "user" ? "PRECONDITION_FAILED" : "INTERNAL_ERROR");
  return new ProtocolError(reply, error.message, { domain: error.domain, cause: error });
}

/** As RabbitMQ writes it: "NOT_FOUND - no queue 'x' in vhost '/'"; a short string holds 255 bytes. */
export function replyText(error: ProtocolError): string {
  const text = Buffer.from(`${error.reply} - ${error.message}`);
  if (text.length <= 255) return text.toString("utf8");
  let end = 252;
  while (((text[end] as number) & 0xc0) === 0x80) end--;
  return `${text.toString("utf8", 0, end)}...`;
}
