import type { Socket } from "node:net";
import type { Clock, Timer } from "../../base/clock.ts";
import type { Logger } from "../../base/logger.ts";
import type { Broker } from "../../broker/contract.ts";
import type { BufferPool } from "./bufferPool.ts";
import type { Channel, ChannelHost } from "./channel.ts";
import { uint16 } from "./codec/bytes.ts";
import { FrameReader, type FrameSink } from "./codec/frameReader.ts";
import { decodeMethod, encodeMethod } from "./codec/methodCodec.ts";
import { basicClass, FrameType, frameInitialBytes, heartbeatFrame, protocolHeader, publishMethod } from "./codec/protocol.ts";
import { ProtocolError } from "./codec/protocolError.ts";
import type { AmqpLimits } from "./config.ts";
import { Agreement, Handshake, startArguments } from "./handshake.ts";
import { Heartbeat } from "./heartbeat.ts";
import { Hold, InputGate } from "./inputGate.ts";
import { Output } from "./output.ts";
import { replyText, toProtocolError } from "./replyErrors.ts";
import { Session } from "./session.ts";
import type { Turns, TurnTaker } from "./turns.ts";

export interface ConnectionSurroundings {
  readonly broker: Broker;
  readonly limits: AmqpLimits;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly version: string;
  readonly turns: Turns;
  readonly pool: BufferPool;
}

/** header: the 8 bytes that name the protocol. closing: only the client's goodbye still counts. */
type State = "header" | "handshake" | "running" | "closing" | "closed";

/** One client: its socket, what is read from it and what is written to it, and how it ends. */
export class Connection implements FrameSink, TurnTaker {
  /** Resolves when it is gone, and all that it had has gone back to the broker. */
  readonly gone: Promise<void>;
  private state: State = "header";
  private headerBytes = 0;
  private readonly reader: FrameReader;
  private readonly gate: InputGate;
  private readonly output: Output;
  private readonly heartbeat: Heartbeat;
  private readonly handshake: Handshake;
  private session: Session | undefined;
  private timer: Timer;
  private inTurn = false;
  private readonly confirming: Channel[] = [];
  private operation: Promise<void> | undefined;
  private released: Promise<void> | undefined;
  private waitsForRelief = false;
  private relieved = false;
  private whenIdle: (() => void) | undefined;

  constructor(
    private readonly socket: Socket,
    private readonly around: ConnectionSurroundings,
    loopback: boolean,
  ) {
    const { limits, clock, broker } = around;
    this.reader = new FrameReader(this, frameInitialBytes);
    this.gate = new InputGate(socket, this.reader, limits.turnBytesMax);
    this.output = new Output(socket, around.pool, limits.consumerSocketBytesMax, () => this.beginTurn());
    this.handshake = new Handshake(broker, limits, loopback);
    this.heartbeat = new Heartbeat(clock, {
      writes: () => this.output.writes,
      isHeld: () => this.gate.held,
      sendHeartbeat: () => this.output.send(heartbeatFrame),
      lost: () => this.destroy("no heartbeat from the client"),
    });
    this.timer = clock.after(limits.handshakeTimeoutMs, () => this.destroy("the handshake took too long"));
    this.gone = new Promise((resolve) => {
      socket.on("close", () => void this.onClose().then(resolve));
    });
    socket.on("data", (chunk: Buffer) => this.onData(chunk));
    socket.on("drain", () => this.onDrain());
    socket.on("error", (error) => around.logger.debug("AMQP socket failed", { error: error.message }));
  }

  // ---- the socket

  private onData(chunk: Buffer): void {
    this.heartbeat.received = true;
    const frames = this.state === "header" ? this.takeHeader(chunk) : chunk;
    if (frames === undefined || this.state === "closed") return;
    this.beginTurn();
    this.gate.push(frames);
    this.afterRead();
  }

  /** What follows the protocol's header; undefined: nothing yet, or never. */
  private takeHeader(chunk: Buffer): Buffer | undefined {
    for (let at = 0; at < chunk.length; at++) {
      if (chunk[at] !== protocolHeader[this.headerBytes]) return this.wrongProtocol();
      if (++this.headerBytes < protocolHeader.length) continue;
      this.state = "handshake";
      this.output.send(encodeMethod(0, "connection.start", startArguments(this.around.version)));
      return chunk.subarray(at + 1);
    }
    return undefined;
  }

  private wrongProtocol(): undefined {
    this.state = "closed";
    this.socket.end(protocolHeader);
    return undefined;
  }

  private onDrain(): void {
    this.output.drained();
    this.wakeConsumers();
    this.checkOutput();
  }

  private async onClose(): Promise<void> {
    this.state = "closed";
    this.timer.cancel();
    this.heartbeat.stop();
    this.reader.stop();
    this.output.close();
    this.around.broker.publishBudget.forget(this.onRelief);
    this.whenIdle?.();
    await this.release();
  }

  private destroy(why: string): void {
    this.around.logger.info("AMQP connection dropped", { why });
    this.socket.destroy();
  }

  // ---- frames

  publish(number: number, bytes: Buffer, methodStart: number, contentStart: number, contentEnd: number): void {
    if (this.state === "closing") return;
    try {
      if (this.session === undefined) throw new ProtocolError("CHANNEL_ERROR", "the connection is not open yet");
      this.session.publish(number, bytes, methodStart, contentStart, contentEnd);
    } catch (error) {
      this.refuse(error, number, basicClass, publishMethod);
    }
  }

  frame(type: number, number: number, bytes: Buffer, start: number, end: number): void {
    if (type === FrameType.heartbeat) return;
    // what is not a method belongs to a publish
    const isMethod = type === FrameType.method && end - start >= 4;
    const classId = isMethod ? uint16(bytes, start) : basicClass;
    const methodId = isMethod ? uint16(bytes, start + 2) : publishMethod;
    try {
      if (type < FrameType.method || type > FrameType.body) throw new ProtocolError("FRAME_ERROR", `unknown frame type ${type}`);
      if (this.state === "closing") return this.frameWhileClosing(type, number, bytes, start, end);
      if (number === 0) return this.connectionMethod(type, bytes, start, end);
      if (this.session === undefined) throw new ProtocolError("CHANNEL_ERROR", "the connection is not open yet");
      const pending = this.session.frame(type, number, bytes, start, end);
      if (pending !== undefined) this.startOperation(pending, number, classId, methodId);
    } catch (error) {
      this.refuse(error, number, classId, methodId);
    }
  }

  malformed(error: ProtocolError): void {
    if (this.state === "closing") return this.destroy("malformed frames");
    this.refuse(error, 0, 0, 0);
    this.socket.end(); // its answer could not be read any more
  }

  private connectionMethod(type: number, bytes: Buffer, start: number, end: number): void {
    if (type !== FrameType.method) throw new ProtocolError("UNEXPECTED_FRAME", "content on channel 0");
    const method = decodeMethod(bytes, start, end);
    if (method.name === "connection.close") return this.closedByClient();
    if (this.state === "running") throw unexpectedInRunning(method.name);
    const answer = this.handshake.step(method);
    if (answer instanceof Agreement) this.open(answer);
    else if (answer !== undefined) this.output.send(encodeMethod(0, "connection.tune", answer));
  }

  private open(agreed: Agreement): void {
    const { limits } = this.around;
    this.timer.cancel();
    this.state = "running";
    this.reader.frameMax = agreed.frameMax;
    const host: ChannelHost = {
      owner: this,
      virtualHost: agreed.virtualHost,
      output: this.output,
      frameMax: agreed.frameMax,
      unackedMax: limits.channelUnackedMax,
      consumersMax: limits.channelConsumersMax,
      notifiesCancel: agreed.notifiesCancel,
      confirmsChanged: (channel) => this.confirmAtEndOfTurn(channel),
      failedToPersist: (failure) => this.around.logger.error("publishes were refused: they could not be made durable", { error: failure }),
    };
    this.session = new Session(host, agreed.user, { ...limits, channelMax: agreed.channelMax });
    this.output.send(encodeMethod(0, "connection.open-ok", { knownHosts: "" }));
    this.heartbeat.start(agreed.heartbeatSeconds);
    this.around.logger.debug("AMQP connection open", { user: agreed.user });
  }

  /** Nothing more is read until it is done: what follows keeps its order. */
  private startOperation(pending: Promise<void>, number: number, classId: number, methodId: number): void {
    this.gate.hold(Hold.operation);
    this.operation = pending
      .catch((error: unknown) => this.refuse(error, number, classId, methodId))
      .then(() => {
        this.operation = undefined;
        this.checkOutput();
        this.beginTurn();
        if (this.gate.release(Hold.operation)) this.afterRead();
      });
  }

  // ---- errors and endings

  private refuse(error: unknown, number: number, classId: number, methodId: number): void {
    if (this.state === "closing" || this.state === "closed") return;
    const refusal = toProtocolError(error);
    const channel = number === 0 ? undefined : this.session?.channel(number);
    if (refusal.domain !== "user") this.around.logger.error("AMQP operation failed", { error });
    if (refusal.closesConnection || channel === undefined || this.session === undefined) {
      this.closeConnection(refusal, classId, methodId);
    } else if (!channel.closing) {
      this.session.closeChannel(channel, refusal, classId, methodId).catch((failure: unknown) => this.logRelease(failure));
    }
  }

  private closeConnection(error: ProtocolError, classId: number, methodId: number): void {
    this.around.logger.info("AMQP connection closed", { reply: error.reply, why: error.message });
    if (!this.handshake.closesPolitely) return void this.socket.destroy();
    this.state = "closing";
    const replyCode = error.replyCode;
    this.output.send(encodeMethod(0, "connection.close", { replyCode, replyText: replyText(error), classId, methodId }));
    this.output.flush();
    this.limitClosing();
    void this.release();
    this.gate.open();
  }

  private frameWhileClosing(type: number, number: number, bytes: Buffer, start: number, end: number): void {
    if (type !== FrameType.method || number !== 0) return;
    const { name } = decodeMethod(bytes, start, end);
    if (name === "connection.close-ok") this.socket.end();
    else if (name === "connection.close") this.sayGoodbye();
  }

  private closedByClient(): void {
    this.state = "closing";
    this.limitClosing();
    void this.release().then(() => this.sayGoodbye());
  }

  private limitClosing(): void {
    this.timer.cancel();
    this.timer = this.around.clock.after(this.around.limits.closeTimeoutMs, () => this.destroy("closing took too long"));
  }

  private sayGoodbye(): void {
    this.output.send(encodeMethod(0, "connection.close-ok", {}));
    this.output.flush();
    this.socket.end();
  }

  /** Once: consumers, deliveries and exclusive queues go back to the broker. Never fails. */
  private release(): Promise<void> {
    this.released ??= this.releaseSession().catch((error: unknown) => this.logRelease(error));
    return this.released;
  }

  private async releaseSession(): Promise<void> {
    const { session } = this;
    if (session === undefined) return;
    await session.release().catch((error: unknown) => this.logRelease(error));
    await this.operation; // a queue that is being declared would be forgotten
    await session.virtualHost.ownerGone(this);
  }

  private logRelease(error: unknown): void {
    this.around.logger.error("what a connection or channel had could not be given back", { error });
  }

  /** The node goes: last confirms, then the reason, then the end. */
  async shutDown(): Promise<void> {
    if (this.state === "running") {
      this.gate.hold(Hold.shutdown);
      await this.idle();
    }
    if (this.state === "running") this.closeConnection(new ProtocolError("CONNECTION_FORCED", "shutting down"), 0, 0);
    else if (this.state !== "closing") this.socket.destroy();
    await this.gone;
  }

  private idle(): Promise<void> {
    return new Promise((resolve) => {
      const timer = this.around.clock.after(this.around.limits.closeTimeoutMs, resolve);
      this.whenIdle = () => {
        timer.cancel();
        resolve();
      };
      this.beginTurn();
    });
  }

  // ---- turns and limits

  private beginTurn(): void {
    if (this.inTurn) return;
    this.inTurn = true;
    this.around.turns.add(this);
  }

  private confirmAtEndOfTurn(channel: Channel): void {
    if (channel.inTurn) return;
    channel.inTurn = true;
    this.confirming.push(channel);
    this.beginTurn();
  }

  endOfTurn(): void {
    this.inTurn = false;
    for (const channel of this.confirming.splice(0)) {
      channel.confirms?.sealTurn();
      if (!channel.closing) channel.confirms?.flush();
      channel.inTurn = false;
    }
    this.output.flush();
    if (this.state === "closed") return;
    this.wakeConsumers();
    this.checkOutput();
    if (this.whenIdle !== undefined && this.operation === undefined && !this.session?.confirmsPending) this.whenIdle();
    if (this.relieved) {
      this.relieved = false;
      this.waitsForRelief = false;
      this.gate.release(Hold.publishBudget);
    }
    this.gate.newTurn();
    this.afterRead();
  }

  private afterRead(): void {
    const { session, around } = this;
    if (session === undefined || !session.publishing.hasPublished) return;
    session.publishing.hasPublished = false;
    if (!around.broker.publishBudget.over || this.waitsForRelief) return;
    this.waitsForRelief = true;
    this.gate.hold(Hold.publishBudget);
    around.broker.publishBudget.onRelief(this.onRelief);
  }

  /** Called from within the journal's or a topic's commit: goes on in a turn of its own. */
  private readonly onRelief = (): void => {
    this.relieved = true;
    this.beginTurn();
  };

  private wakeConsumers(): void {
    if (!this.output.deliveryStalled || !this.output.mayDeliver()) return;
    this.output.deliveryStalled = false;
    this.session?.wakeConsumers();
  }

  /** A client that does not read its answers is not asked for more. */
  private checkOutput(): void {
    if (this.output.waitingBytes > this.around.limits.replySocketBytesMax) this.gate.hold(Hold.output);
    else this.gate.release(Hold.output);
  }
}

function unexpectedInRunning(name: string): ProtocolError {
  return name === "connection.update-secret"
    ? new ProtocolError("NOT_IMPLEMENTED", "connection.update-secret")
    : new ProtocolError("COMMAND_INVALID", `${name} is not expected on an open connection`);
}
