/** The whole of millrace.yaml, put together from what each layer says of its own keys. */
import { z } from "zod";
import { authSchema, brokerLimitsSchema } from "../broker/config.ts";
import { logConfig } from "../log/config.ts";
import { amqpConfig } from "../protocol/amqp/config.ts";
import { serverConfig } from "../server/config.ts";

export const nodeConfig = z.strictObject({
  ...serverConfig,
  log: logConfig.prefault({}),
  listeners: z.strictObject({ amqp: amqpConfig.prefault({}) }).prefault({}),
  auth: authSchema.prefault({}),
  limits: brokerLimitsSchema.prefault({}),
});

export type NodeConfig = Readonly<z.output<typeof nodeConfig>>;
/** What somebody writes: everything has a default. */
export type NodeConfigInput = z.input<typeof nodeConfig>;
