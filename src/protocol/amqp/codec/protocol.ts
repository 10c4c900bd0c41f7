/**
 * AMQP 0-9-1 framing:
 *
 *     frame   = type (1) channel (2) size (4) payload (size) end (1, 0xCE); all numbers big-endian
 *     method  = class (2) method (2) arguments
 *     header  = class (2) weight (2, 0) body size (8) property flags (2) property list
 *     body    = the bytes of the message, in as many frames as the sender likes
 *
 * A whole frame, with its 8 bytes around the payload, is at most `frame_max` long.
 */
export const FrameType = { method: 1, header: 2, body: 3, heartbeat: 8 } as const;

export const frameEnd = 0xce;
export const frameHeaderBytes = 7;
export const frameOverheadBytes = 8;
/** No peer may negotiate less. */
export const frameMinBytes = 4096;
/** What is allowed before tune: start-ok carries the client's properties. */
export const frameInitialBytes = 8192;

export const protocolHeader = Buffer.from("AMQP\x00\x00\x09\x01", "latin1");
export const heartbeatFrame = Buffer.of(FrameType.heartbeat, 0, 0, 0, 0, 0, 0, frameEnd);

export const basicClass = 60;
export const publishMethod = 40;

/** Reply codes, and what each one closes. */
export const replies = {
  NO_ROUTE: { code: 312, closes: "channel" },
  CONNECTION_FORCED: { code: 320, closes: "connection" },
  ACCESS_REFUSED: { code: 403, closes: "channel" },
  NOT_FOUND: { code: 404, closes: "channel" },
  RESOURCE_LOCKED: { code: 405, closes: "channel" },
  PRECONDITION_FAILED: { code: 406, closes: "channel" },
  FRAME_ERROR: { code: 501, closes: "connection" },
  SYNTAX_ERROR: { code: 502, closes: "connection" },
  COMMAND_INVALID: { code: 503, closes: "connection" },
  CHANNEL_ERROR: { code: 504, closes: "connection" },
  UNEXPECTED_FRAME: { code: 505, closes: "connection" },
  RESOURCE_ERROR: { code: 506, closes: "connection" },
  NOT_ALLOWED: { code: 530, closes: "connection" },
  NOT_IMPLEMENTED: { code: 540, closes: "connection" },
  INTERNAL_ERROR: { code: 541, closes: "connection" },
} as const satisfies Record<string, { code: number; closes: "channel" | "connection" }>;

export type ReplyName = keyof typeof replies;
