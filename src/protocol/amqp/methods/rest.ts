import { ProtocolError } from "../codec/protocolError.ts";
import { type Handlers, notImplemented } from "./handlers.ts";

type RestMethod =
  | "channel.open"
  | "channel.flow"
  | "channel.flow-ok"
  | "access.request"
  | "confirm.select"
  | "tx.select"
  | "tx.commit"
  | "tx.rollback";

const noTransactions = (): never => {
  throw notImplemented("transactions");
};

export const restHandlers: Handlers<RestMethod> = {
  "channel.open": () => {
    throw new ProtocolError("CHANNEL_ERROR", "second 'channel.open' seen");
  },

  "channel.flow": (channel, { active }) => {
    if (!active) throw notImplemented("active=false");
    channel.send("channel.flow-ok", { active });
  },

  // we never ask for it, and RabbitMQ lets it pass
  "channel.flow-ok": () => undefined,

  "access.request": (channel) => channel.send("access.request-ok", { ticket: 1 }),

  "confirm.select": (channel, { nowait }) => {
    channel.confirmPublishes();
    if (!nowait) channel.send("confirm.select-ok", {});
  },

  "tx.select": noTransactions,
  "tx.commit": noTransactions,
  "tx.rollback": noTransactions,
};
