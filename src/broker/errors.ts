/** The broker's refusals, worded like RabbitMQ's: clients and their users search for these texts. */
import { MillraceError } from "../base/errors.ts";
import { BrokerErrorCode } from "./contract.ts";

export const notFound = (what: string): MillraceError => new MillraceError(BrokerErrorCode.notFound, what, { domain: "user" });

export const accessRefused = (what: string): MillraceError => new MillraceError(BrokerErrorCode.accessRefused, what, { domain: "user" });

export const preconditionFailed = (what: string, hint?: string): MillraceError =>
  new MillraceError(BrokerErrorCode.preconditionFailed, what, hint === undefined ? { domain: "user" } : { domain: "user", hint });

export const resourceLocked = (what: string): MillraceError => new MillraceError(BrokerErrorCode.resourceLocked, what, { domain: "user" });

export const notImplemented = (what: string): MillraceError => new MillraceError(BrokerErrorCode.notImplemented, what, { domain: "user" });

export const closed = (): MillraceError =>
  new MillraceError(BrokerErrorCode.internalError, "the node is shutting down", {
    domain: "external",
    retryable: true,
    hint: "Connect again once the node is back, and publish again what was not confirmed.",
  });
