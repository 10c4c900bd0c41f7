import type { Handlers } from "./handlers.ts";

export const exchangeHandlers: Handlers<"exchange.declare" | "exchange.delete" | "exchange.bind" | "exchange.unbind"> = {
  "exchange.declare": async (channel, args) => {
    if (args.passive) {
      channel.virtualHost.checkExchange(args.exchange);
    } else {
      const { type, durable, autoDelete, internal } = args;
      await channel.virtualHost.declareExchange(args.exchange, { type, durable, autoDelete, internal, arguments: args.arguments });
    }
    if (!args.nowait) channel.send("exchange.declare-ok", {});
  },

  "exchange.delete": async (channel, { exchange, ifUnused, nowait }) => {
    await channel.virtualHost.deleteExchange(exchange, { ifUnused });
    if (!nowait) channel.send("exchange.delete-ok", {});
  },

  "exchange.bind": async (channel, args) => {
    await channel.virtualHost.bindExchange(args.destination, args.source, args.routingKey, args.arguments);
    if (!args.nowait) channel.send("exchange.bind-ok", {});
  },

  "exchange.unbind": async (channel, args) => {
    await channel.virtualHost.unbindExchange(args.destination, args.source, args.routingKey, args.arguments);
    if (!args.nowait) channel.send("exchange.unbind-ok", {});
  },
};
