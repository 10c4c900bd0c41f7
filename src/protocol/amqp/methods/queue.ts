import type { Channel } from "../channel.ts";
import { type Handlers, queueNamed } from "./handlers.ts";

export const queueHandlers: Handlers<"queue.declare" | "queue.bind" | "queue.unbind" | "queue.purge" | "queue.delete"> = {
  "queue.declare": async (channel, args) => {
    const { durable, exclusive, autoDelete } = args;
    const { virtualHost, owner } = channel;
    const state = args.passive
      ? virtualHost.checkQueue(queueNamed(channel, args.queue), owner)
      : await virtualHost.declareQueue(args.queue, { durable, exclusive, autoDelete, arguments: args.arguments }, owner);
    channel.lastQueue = state.name;
    if (args.nowait) return;
    const { messageCount, consumerCount } = state;
    channel.send("queue.declare-ok", { queue: state.name, messageCount, consumerCount });
  },

  "queue.bind": async (channel, args) => {
    const queue = queueNamed(channel, args.queue);
    const routingKey = routingKeyOf(channel, args);
    await channel.virtualHost.bindQueue(queue, args.exchange, routingKey, args.arguments, channel.owner);
    if (!args.nowait) channel.send("queue.bind-ok", {});
  },

  "queue.unbind": async (channel, args) => {
    const queue = queueNamed(channel, args.queue);
    const routingKey = routingKeyOf(channel, args);
    await channel.virtualHost.unbindQueue(queue, args.exchange, routingKey, args.arguments, channel.owner);
    channel.send("queue.unbind-ok", {});
  },

  "queue.purge": async (channel, { queue, nowait }) => {
    const messageCount = await channel.virtualHost.purgeQueue(queueNamed(channel, queue), channel.owner);
    if (!nowait) channel.send("queue.purge-ok", { messageCount });
  },

  "queue.delete": async (channel, { queue, ifUnused, ifEmpty, nowait }) => {
    const messageCount = await channel.virtualHost.deleteQueue(queueNamed(channel, queue), { ifUnused, ifEmpty }, channel.owner);
    if (!nowait) channel.send("queue.delete-ok", { messageCount });
  },
};

/** Where both names are empty, the key is the queue's name as well. */
function routingKeyOf(channel: Channel, args: { readonly queue: string; readonly routingKey: string }): string {
  return args.queue === "" && args.routingKey === "" ? queueNamed(channel, "") : args.routingKey;
}
