import type { Channel } from "../channel.ts";
import type { Method } from "../codec/methods.ts";
import { ProtocolError } from "../codec/protocolError.ts";
import { basicHandlers } from "./basic.ts";
import { exchangeHandlers } from "./exchange.ts";
import type { Handler } from "./handlers.ts";
import { queueHandlers } from "./queue.ts";
import { restHandlers } from "./rest.ts";

/** Every method that a client may send on an open channel, but for what closes it and the hot ones. */
const handlers: ReadonlyMap<string, unknown> = new Map(
  Object.entries({ ...exchangeHandlers, ...queueHandlers, ...basicHandlers, ...restHandlers }),
);

export function handle(channel: Channel, method: Method): void | Promise<void> {
  const handler = handlers.get(method.name) as Handler<Method["name"]> | undefined; // each under its own name: see Handlers
  if (handler === undefined) throw new ProtocolError("COMMAND_INVALID", `${method.name} is not a client's to send on a channel`);
  return handler(channel, method.arguments as never);
}
