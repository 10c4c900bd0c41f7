import type { Channel } from "../channel.ts";
import type { MethodArguments, MethodName } from "../codec/methods.ts";
import { ProtocolError } from "../codec/protocolError.ts";

/** What a method does on an open channel. While a promise is pending, nothing more is read from the connection. */
export type Handler<N extends MethodName> = (channel: Channel, args: MethodArguments<N>) => void | Promise<void>;

export type Handlers<N extends MethodName> = { readonly [M in N]: Handler<M> };

export const notImplemented = (what: string): ProtocolError => new ProtocolError("NOT_IMPLEMENTED", what);

/** An empty name means the channel's last declared queue. */
export function queueNamed(channel: Channel, name: string): string {
  if (name !== "") return name;
  if (channel.lastQueue === undefined) throw new ProtocolError("NOT_FOUND", "no previously declared queue");
  return channel.lastQueue;
}
