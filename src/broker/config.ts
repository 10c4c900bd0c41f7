/** The broker's parts of the configuration: `auth` and `limits`. */
import { z } from "zod";

const userSchema = z.strictObject({
  name: z.string().min(1).max(255).meta({ description: "the name that a client logs in with" }),
  password: z.string().meta({
    secret: true,
    description: 'the password, or "sha256:" and RabbitMQ\'s password hash: base64 of 4 bytes of salt and SHA-256(salt + password)',
  }),
  loopbackOnly: z.boolean().default(false).meta({ description: "may log in only from this machine" }),
});

export const authSchema = z.strictObject({
  users: z
    .array(userSchema)
    .default([{ name: "guest", password: "guest", loopbackOnly: true }])
    .refine((users) => new Set(users.map((user) => user.name)).size === users.length, "two users have the same name")
    .meta({ description: "who may log in; without it guest with the password guest, from this machine only" }),
});

const count = (fallback: number, description: string): z.ZodDefault<z.ZodInt> => z.int().min(1).default(fallback).meta({ description });

export const brokerLimitsSchema = z.strictObject({
  queueCacheBytesMax: count(8 * 1024 * 1024, "content of ready messages that stays in memory, of one queue"),
  queueCacheBytesMaxTotal: count(128 * 1024 * 1024, "content of ready messages that stays in memory, of all queues together"),
  readAheadBytesMaxTotal: count(64 * 1024 * 1024, "content read back from the journal before its turn, of all queues together"),
  routeCacheEntriesMax: count(100_000, "pairs of exchange and routing key whose route is remembered"),
  dedupeIdsMax: count(1_000_000, "message-ids that a queue or a partition with x-dedupe remembers at most"),
  partitionsMax: count(1024, "partitions of a topic"),
  exchangesMax: count(10_000, "exchanges of a virtual host"),
  queuesMax: count(50_000, "queues and topics of a virtual host"),
  bindingsMax: count(500_000, "bindings of a virtual host"),
});

export type AuthConfig = z.output<typeof authSchema>;
export type BrokerLimits = z.output<typeof brokerLimitsSchema>;
