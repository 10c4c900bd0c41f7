/** A client made of bytes: sends what it is told, also what no client would. */
import { connect, type Socket } from "node:net";
import { decodeMethod, encodeMethod } from "../../../src/protocol/amqp/codec/methodCodec.ts";
import type { Method, MethodArguments, MethodName } from "../../../src/protocol/amqp/codec/methods.ts";
import { FrameType, frameEnd, protocolHeader } from "../../../src/protocol/amqp/codec/protocol.ts";

export function frame(type: number, channel: number, payload: Buffer): Buffer {
  const head = Buffer.alloc(7);
  head.writeUInt8(type, 0);
  head.writeUInt16BE(channel, 1);
  head.writeUInt32BE(payload.length, 3);
  return Buffer.concat([head, payload, Buffer.of(frameEnd)]);
}

/** Delivery mode 2 and nothing else. */
const persistent: Buffer = Buffer.of(0x10, 0, 2);

export function contentHeader(channel: number, bodyBytes: number, properties: Buffer = persistent): Buffer {
  const head = Buffer.alloc(12);
  head.writeUInt16BE(60, 0);
  head.writeBigUInt64BE(BigInt(bodyBytes), 4);
  return frame(FrameType.header, channel, Buffer.concat([head, properties]));
}

export function publishMethod(channel: number, exchange: string, routingKey: string, mandatory = false): Buffer {
  return encodeMethod(channel, "basic.publish", { ticket: 0, exchange, routingKey, mandatory, immediate: false });
}

/** A publish whose body comes in frames of `frameBytes`. */
export function publish(
  channel: number,
  exchange: string,
  routingKey: string,
  body: Buffer,
  frameBytes = 131_064,
  properties = persistent,
): Buffer {
  const frames = [publishMethod(channel, exchange, routingKey), contentHeader(channel, body.length, properties)];
  for (let at = 0; at < body.length; at += frameBytes) frames.push(frame(FrameType.body, channel, body.subarray(at, at + frameBytes)));
  return Buffer.concat(frames);
}

export interface Frame {
  readonly type: number;
  readonly channel: number;
  readonly payload: Buffer;
}

export class RawClient {
  readonly frames: Frame[] = [];
  ended = false;
  bytesRead = 0;
  readonly socket: Socket;
  private rest: Buffer = Buffer.alloc(0);
  private looked = 0;
  private wake: (() => void) | undefined;

  constructor(port: number) {
    this.socket = connect({ port, host: "127.0.0.1", noDelay: true });
    this.socket.on("error", () => undefined);
    this.socket.on("close", () => {
      this.ended = true;
      this.wake?.();
    });
    this.socket.on("data", (chunk) => {
      this.bytesRead += chunk.length;
      this.rest = Buffer.concat([this.rest, chunk]);
      while (this.rest.length >= 8 && this.rest.length >= this.rest.readUInt32BE(3) + 8) {
        const size = this.rest.readUInt32BE(3);
        this.frames.push({ type: this.rest.readUInt8(0), channel: this.rest.readUInt16BE(1), payload: this.rest.subarray(7, 7 + size) });
        this.rest = this.rest.subarray(size + 8);
      }
      this.wake?.();
    });
  }

  /** Bytes that are no frames. */
  get unframed(): Buffer {
    return this.rest;
  }

  send(bytes: Buffer): void {
    this.socket.write(bytes);
  }

  method<N extends MethodName>(channel: number, name: N, args: MethodArguments<N>): void {
    this.send(encodeMethod(channel, name, args));
  }

  /** The next frame that was not looked at; undefined at the end. */
  async frame(): Promise<Frame | undefined> {
    for (;;) {
      const next = this.frames[this.looked];
      if (next !== undefined) {
        this.looked++;
        return next;
      }
      if (this.ended) return undefined;
      await new Promise<void>((resolve) => {
        this.wake = resolve;
      });
    }
  }

  /** The next method of this name; whatever comes before is passed over. */
  async expect<N extends MethodName>(name: N): Promise<MethodArguments<N>> {
    const passed: string[] = [];
    for (;;) {
      const next = await this.frame();
      if (next === undefined) throw new Error(`the connection ended before ${name}; there were ${passed.join(", ")}`);
      if (next.type !== FrameType.method) continue;
      const method: Method = decodeMethod(next.payload, 0, next.payload.length);
      if (method.name === name) return method.arguments as MethodArguments<N>;
      passed.push(`${method.name} ${JSON.stringify(method.arguments)}`);
    }
  }

  async end(): Promise<void> {
    while (!this.ended) {
      await new Promise<void>((resolve) => {
        this.wake = resolve;
      });
    }
  }

  close(): void {
    this.socket.destroy();
  }

  async login(
    options: {
      frameMax?: number;
      heartbeat?: number;
      password?: string;
      virtualHost?: string;
      capabilities?: Record<string, boolean>;
    } = {},
  ): Promise<void> {
    const { frameMax = 131_072, heartbeat = 0, password = "guest", virtualHost = "/", capabilities = {} } = options;
    this.send(protocolHeader);
    await this.expect("connection.start");
    const response = Buffer.from(`\0guest\0${password}`);
    this.method(0, "connection.start-ok", { clientProperties: { capabilities }, mechanism: "PLAIN", response, locale: "en_US" });
    await this.expect("connection.tune");
    this.method(0, "connection.tune-ok", { channelMax: 2047, frameMax, heartbeat });
    this.method(0, "connection.open", { virtualHost, capabilities: "", insist: false });
    await this.expect("connection.open-ok");
  }

  async openChannel(number = 1): Promise<void> {
    this.method(number, "channel.open", { outOfBand: "" });
    await this.expect("channel.open-ok");
  }

  async declare(queue: string, channel = 1): Promise<void> {
    this.method(channel, "queue.declare", {
      ticket: 0,
      queue,
      passive: false,
      durable: true,
      exclusive: false,
      autoDelete: false,
      nowait: false,
      arguments: {},
    });
    await this.expect("queue.declare-ok");
  }

  async consume(queue: string, options: { noAck?: boolean; tag?: string } = {}, channel = 1): Promise<void> {
    const { noAck = false, tag = "c" } = options;
    this.method(channel, "basic.consume", {
      ticket: 0,
      queue,
      consumerTag: tag,
      noLocal: false,
      noAck,
      exclusive: false,
      nowait: false,
      arguments: {},
    });
    await this.expect("basic.consume-ok");
  }
}

/** A client with one open channel. */
export async function rawClient(port: number, options: Parameters<RawClient["login"]>[0] = {}): Promise<RawClient> {
  const client = new RawClient(port);
  await client.login(options);
  await client.openChannel();
  return client;
}
