import { randomBytes } from "node:crypto";
import { unknownArgument } from "../../../broker/argumentNames.ts";
import { Address } from "../../../record/address.ts";
import type { Channel } from "../channel.ts";
import type { FieldTable } from "../codec/fieldTable.ts";
import { ProtocolError } from "../codec/protocolError.ts";
import { AmqpConsumer } from "../consumer.ts";
import { type Handlers, notImplemented, queueNamed } from "./handlers.ts";

type BasicMethod = "basic.qos" | "basic.consume" | "basic.cancel" | "basic.get" | "basic.recover" | "basic.recover-async";

export const basicHandlers: Handlers<BasicMethod> = {
  "basic.qos": (channel, { prefetchSize, prefetchCount, global }) => {
    if (prefetchSize !== 0) throw notImplemented("prefetch_size != 0");
    if (global) {
      channel.deliveries.prefetchGlobal = prefetchCount;
      channel.deliveries.wakeStalled();
    } else {
      channel.prefetch = prefetchCount;
    }
    channel.send("basic.qos-ok", {});
  },

  // no-local is ignored, as RabbitMQ does
  "basic.consume": (channel, args) => {
    const queueName = queueNamed(channel, args.queue);
    if (queueName === "amq.rabbitmq.reply-to") throw notImplemented("direct reply-to");
    refuseArguments(args.arguments, queueName);
    const tag = args.consumerTag === "" ? generatedTag() : args.consumerTag;
    if (channel.consumers.has(tag)) throw new ProtocolError("NOT_ALLOWED", `attempt to reuse consumer tag '${tag}'`);
    if (channel.consumers.size >= channel.consumersMax) {
      throw new ProtocolError("NOT_ALLOWED", `reached maximum (${channel.consumersMax}) of consumers per channel`);
    }
    const { noAck, exclusive } = args;
    const options = { tag, noAck, exclusive, owner: channel.owner, prefetch: channel.prefetch };
    const consumer = new AmqpConsumer(options, queueName, channel.deliveries, channel.consumerGone);
    const queue = channel.virtualHost.consume(queueName, consumer);
    channel.consumers.set(tag, consumer);
    if (!args.nowait) channel.send("basic.consume-ok", { consumerTag: tag });
    consumer.start(queue);
  },

  "basic.cancel": async (channel, { consumerTag, nowait }) => {
    const consumer = channel.consumers.get(consumerTag);
    if (consumer !== undefined) {
      channel.consumers.delete(consumerTag);
      consumer.stop();
      await channel.virtualHost.cancel(consumer.queueName, consumer);
    }
    if (!nowait) channel.send("basic.cancel-ok", { consumerTag });
  },

  "basic.get": async (channel, args) => {
    const queueName = queueNamed(channel, args.queue);
    if (!args.noAck && !channel.deliveries.holdsMore()) {
      throw new ProtocolError("PRECONDITION_FAILED", `channel ${channel.number} has too many unacknowledged deliveries`);
    }
    const got = await channel.virtualHost.get(queueName, args.noAck, channel.owner);
    if (got === undefined) return channel.send("basic.get-empty", { clusterId: "" });
    const { delivery, queue, remaining } = got;
    // the connection was lost while it was fetched
    if (channel.closing) return args.noAck ? undefined : queue.requeue(delivery.offset);
    channel.deliveries.answerGet(delivery, queue, args.noAck, remaining, Address.decode(delivery.address));
  },

  "basic.recover": (channel, { requeue }) => {
    recover(channel, requeue);
    channel.send("basic.recover-ok", {});
  },

  "basic.recover-async": (channel, { requeue }) => recover(channel, requeue),
};

function recover(channel: Channel, requeue: boolean): void {
  if (!requeue) throw notImplemented("recover without requeue");
  channel.deliveries.requeueAll();
}

const generatedTag = (): string => `amq.ctag-${randomBytes(16).toString("base64url")}`;

/** They would change what the consumer gets: not there yet, and so refused. */
const consumerArguments = ["x-priority", "x-consumer-timeout", "x-stream-offset", "x-stream-filter", "x-stream-match-unfiltered"];
const harmless = "x-cancel-on-ha-failover";

function refuseArguments(args: FieldTable, queue: string): void {
  for (const name of Object.keys(args)) {
    if (consumerArguments.includes(name)) throw notImplemented(`the consumer argument ${name}`);
    if (name !== harmless) throw unknownArgument(name, consumerArguments, `for a consumer of queue '${queue}'`);
  }
}
