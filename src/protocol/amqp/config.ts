import { z } from "zod";

const kibi = 1024;
const mebi = 1024 * kibi;
/** AMQP's own default port. */
const portDefault = 5672;

const count = (byDefault: number, description: string, max = 2 ** 31 - 1) =>
  z.int().min(1).max(max).default(byDefault).meta({ description });
/** Not below what Node's sockets buffer before they say that they are full. */
const bytes = (byDefault: number, description: string) =>
  z
    .int()
    .min(64 * kibi)
    .default(byDefault)
    .meta({ description });

/** `listeners.amqp`. */
export const amqpConfig = z.strictObject({
  host: z.string().min(1).default("127.0.0.1").meta({ description: "the address to listen on; 0.0.0.0 is all of them" }),
  port: z.int().min(0).max(65_535).default(portDefault).meta({ description: "the port to listen on; 0 takes a free one" }),
  connectionsMax: count(2000, "connections at a time; more are closed at once"),
  channelMax: count(2047, "channels in a connection", 65_535),
  frameBytesMax: z.int().min(4096).max(mebi).default(131_072).meta({ description: "the longest frame that is offered to clients" }),
  heartbeatSeconds: z.int().min(0).max(65_535).default(60).meta({ description: "the heartbeat that is offered to clients; 0 is none" }),
  handshakeTimeoutMs: count(10_000, "a connection must be open within this time"),
  closeTimeoutMs: count(3000, "how long a closing connection waits for its last confirms, and then for the client's answer"),
  messageBytesMax: count(16 * mebi, "the largest message; a larger one closes the channel (406)"),
  connectionAssemblyBytesMax: bytes(64 * mebi, "half-received messages of a connection; beyond it the connection is closed (506)"),
  channelUnackedMax: count(50_000, "deliveries a channel may hold unacknowledged, also where the client set no prefetch"),
  channelConsumersMax: count(10_000, "consumers of a channel"),
  consumerSocketBytesMax: bytes(mebi, "bytes waiting on a client's socket at which deliveries to it stop until it has read them"),
  replySocketBytesMax: bytes(8 * mebi, "bytes waiting on a client's socket at which nothing more is read from it"),
  turnBytesMax: bytes(256 * kibi, "bytes of one connection that are processed before the others have their turn"),
});

export type AmqpConfig = z.output<typeof amqpConfig>;

export type AmqpLimits = Readonly<Omit<AmqpConfig, "host" | "port">>;
