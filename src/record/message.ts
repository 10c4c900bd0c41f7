import type { Address } from "./address.ts";

/** The format of `content`. A number, because it is kept on disk; never reuse one. */
export const ContentFormat = { amqp091: 1 } as const;
export type ContentFormat = (typeof ContentFormat)[keyof typeof ContentFormat];

/** A header's value as routing (headers exchange) and tracing see it. */
export type HeaderValue =
  | string
  | number
  | bigint
  | boolean
  | Date
  | null
  | Uint8Array
  | readonly HeaderValue[]
  | { readonly [name: string]: HeaderValue };

/**
 * A published message on its way through the broker. The content stays the protocol's own bytes; what is inside is read
 * only when a route or a queue needs it. `content` is a view of the socket's chunk, valid only during `publish`:
 * whoever keeps it copies it.
 */
export interface Message {
  readonly address: Address;
  readonly contentFormat: ContentFormat;
  /** amqp091: the content header frame and the body frames, whole, as they came (channel numbers included). */
  readonly content: Buffer;
  /** The publisher asked that it survives a restart (delivery mode 2). */
  readonly persistent: boolean;
  messageId(): string | undefined;
  headers(): Readonly<Record<string, HeaderValue>> | undefined;
  /** The payload alone; copied only when it came in several frames. */
  body(): Buffer;
  /** amqp091: property flags and property list, to the byte. */
  properties(): Buffer;
}
