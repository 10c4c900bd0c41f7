import { isIPv6 } from "node:net";
import { systemClock } from "../base/clock.ts";
import { MillraceError } from "../base/errors.ts";
import type { Logger } from "../base/logger.ts";
import type { Broker } from "../broker/contract.ts";
import type { AmqpConfig } from "../protocol/amqp/config.ts";
import { type AmqpListener, listenAmqp } from "../protocol/amqp/listener.ts";
import { version } from "./version.ts";

/** How many ports behind the wanted one are tried. */
const portsMax = 100;

/** With `nextIfTaken` a taken port is said, and the next free one behind it taken. */
export async function openListener(config: AmqpConfig, broker: Broker, logger: Logger, nextIfTaken: boolean): Promise<AmqpListener> {
  const { host } = config;
  for (let port = config.port; ; port++) {
    try {
      return await listenAmqp({ broker, host, port, clock: systemClock, logger, limits: config, version });
    } catch (error) {
      const taken = error instanceof MillraceError && error.code === "PORT_TAKEN";
      if (!taken || !nextIfTaken || port === 65_535 || port - config.port === portsMax) throw error;
      logger.warn("port is taken, trying the next one", { port });
    }
  }
}

export const amqpAddress = ({ host, port }: AmqpListener): string => `amqp://${isIPv6(host) ? `[${host}]` : host}:${port}`;
