import { methodFrame, shortString, unsigned } from "./baseline/wire.ts";

const CONTENT_TYPE = 0x8000;
const DELIVERY_MODE = 0x1000;
const MESSAGE_ID = 0x0080;

/** A publish as amqplib sends it: method, header with content-type, delivery-mode 2 and message-id, one body frame. */
export function publishFrames(channel: number, exchange: string, routingKey: string, messageId: string, bodyBytes: number): Buffer {
  const method = methodFrame(channel, 60, 40, unsigned(0, 2), shortString(exchange), shortString(routingKey), Buffer.of(0));
  const properties = Buffer.concat([shortString("application/json"), Buffer.of(2), shortString(messageId)]);
  const flags = unsigned(CONTENT_TYPE | DELIVERY_MODE | MESSAGE_ID, 2);
  const header = Buffer.concat([unsigned(60, 2), unsigned(0, 2), unsigned(bodyBytes, 8), flags, properties]);
  return Buffer.concat([method, frame(2, channel, header), frame(3, channel, Buffer.alloc(bodyBytes, "x"))]);
}

function frame(type: number, channel: number, payload: Buffer): Buffer {
  return Buffer.concat([Buffer.of(type), unsigned(channel, 2), unsigned(payload.length, 4), payload, Buffer.of(0xce)]);
}
