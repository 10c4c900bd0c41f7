/** The whole of millrace.yaml, put together from what each layer says of its own keys. */
import { z } from "zod";
import { authSchema, brokerLimitsSchema } from "../broker/config.ts";
import { logConfig } from "../log/config.ts";
import { amqpConfig } from "../protocol/amqp/config.ts";
import { serverConfig } from "../server/config.ts";

/** What a record of a topic has beside a message's payload and properties: address, message-id, lengths, the batch's header. */
const recordOverheadBytesMax = 4096;

const layers = z.strictObject({
  ...serverConfig,
  log: logConfig.prefault({}),
  listeners: z.strictObject({ amqp: amqpConfig.prefault({}) }).prefault({}),
  auth: authSchema.prefault({}),
  limits: brokerLimitsSchema.prefault({}),
});

/** Limits that depend on one another are compared here, so that a message is never taken by its queues and refused by its topic. */
export const nodeConfig = layers.superRefine(({ log, listeners: { amqp } }, problems) => {
  const needed = amqp.messageBytesMax + amqp.frameBytesMax + recordOverheadBytesMax;
  if (log.maxMessageBytes >= needed) return;
  problems.addIssue({
    code: "custom",
    path: ["log", "maxMessageBytes"],
    message: `a message of listeners.amqp.message-bytes-max with its properties takes up to ${needed} bytes in a topic; raise this one or lower that one`,
  });
});

export type NodeConfig = Readonly<z.output<typeof nodeConfig>>;
/** What somebody writes: everything has a default. */
export type NodeConfigInput = z.input<typeof nodeConfig>;
