import type { Broker, VirtualHost } from "../../broker/contract.ts";
import type { FieldTable } from "./codec/fieldTable.ts";
import type { Method, MethodArguments } from "./codec/methods.ts";
import { frameMinBytes } from "./codec/protocol.ts";
import { ProtocolError } from "./codec/protocolError.ts";
import type { AmqpLimits } from "./config.ts";
import { mechanismNames, readCredentials } from "./credentials.ts";

/** What both sides agreed on. */
export class Agreement {
  constructor(
    readonly user: string,
    readonly virtualHost: VirtualHost,
    readonly channelMax: number,
    readonly frameMax: number,
    readonly heartbeatSeconds: number,
    /** The client understands basic.cancel from the server. */
    readonly notifiesCancel: boolean,
  ) {}
}

/** What clients may rely on: only what is honoured is said here, they branch on it. */
const capabilities = {
  publisher_confirms: true,
  exchange_exchange_bindings: true,
  "basic.nack": true,
  consumer_cancel_notify: true,
  authentication_failure_close: true,
  per_consumer_qos: true,
} as const;

export function startArguments(version: string): MethodArguments<"connection.start"> {
  const serverProperties = { product: "Millrace", version, platform: `Node.js ${process.versions.node}`, capabilities };
  return {
    versionMajor: 0,
    versionMinor: 9,
    serverProperties,
    mechanisms: Buffer.from(mechanismNames),
    locales: Buffer.from("en_US"),
  };
}

type Answer = MethodArguments<"connection.tune"> | Agreement;

/** From start to open: who it is, what the limits are, which virtual host. Pure: takes methods, gives the next step. */
export class Handshake {
  /** The client wants to hear of a refused login, rather than find the connection closed. */
  closesPolitely = true;
  private user: string | undefined;
  private notifiesCancel = false;
  private tuned: MethodArguments<"connection.tune-ok"> | undefined;

  constructor(
    private readonly broker: Broker,
    private readonly limits: AmqpLimits,
    private readonly loopback: boolean,
  ) {}

  /** What to send as tune, or the agreement once it is open; undefined: wait for the next. */
  step(method: Method): Answer | undefined {
    if (method.name === "connection.start-ok" && this.user === undefined) return this.startOk(method.arguments);
    if (method.name === "connection.tune-ok" && this.user !== undefined && this.tuned === undefined) {
      this.tuned = this.tuneOk(method.arguments);
      return undefined;
    }
    if (method.name === "connection.open" && this.tuned !== undefined) return this.open(method.arguments.virtualHost, this.tuned);
    throw new ProtocolError("COMMAND_INVALID", `${method.name} is not expected now`);
  }

  private startOk(args: MethodArguments<"connection.start-ok">): MethodArguments<"connection.tune"> {
    this.closesPolitely = hasCapability(args.clientProperties, "authentication_failure_close");
    this.notifiesCancel = hasCapability(args.clientProperties, "consumer_cancel_notify");
    const { user, password } = readCredentials(args.mechanism, args.response);
    const accepted = this.broker.authenticate(user, password, { loopback: this.loopback });
    if (accepted === undefined) {
      throw new ProtocolError("ACCESS_REFUSED", `Login was refused using authentication mechanism ${args.mechanism}.`);
    }
    this.closesPolitely = true;
    this.user = accepted.user;
    const { channelMax, frameBytesMax, heartbeatSeconds } = this.limits;
    return { channelMax, frameMax: frameBytesMax, heartbeat: heartbeatSeconds };
  }

  /** 0 is the client's word for 'as you like'. */
  private tuneOk(wanted: MethodArguments<"connection.tune-ok">): MethodArguments<"connection.tune-ok"> {
    const { channelMax, frameBytesMax } = this.limits;
    const frameMax = wanted.frameMax === 0 ? frameBytesMax : wanted.frameMax;
    if (frameMax < frameMinBytes || frameMax > frameBytesMax) {
      throw new ProtocolError("NOT_ALLOWED", `frame_max ${frameMax} is not between ${frameMinBytes} and ${frameBytesMax}`);
    }
    const channels = wanted.channelMax === 0 ? channelMax : wanted.channelMax;
    if (channels > channelMax) throw new ProtocolError("NOT_ALLOWED", `channel_max ${channels} is higher than the allowed ${channelMax}`);
    return { channelMax: channels, frameMax, heartbeat: wanted.heartbeat };
  }

  private open(name: string, tuned: MethodArguments<"connection.tune-ok">): Agreement {
    const virtualHost = this.broker.virtualHost(name);
    if (virtualHost === undefined) throw new ProtocolError("NOT_ALLOWED", `vhost ${name} not found`);
    const user = this.user as string; // tuned after start-ok only
    return new Agreement(user, virtualHost, tuned.channelMax, tuned.frameMax, tuned.heartbeat, this.notifiesCancel);
  }
}

function hasCapability(properties: FieldTable, name: string): boolean {
  const { capabilities } = properties;
  if (typeof capabilities !== "object" || capabilities === null || Array.isArray(capabilities)) return false;
  return (capabilities as FieldTable)[name] === true;
}
