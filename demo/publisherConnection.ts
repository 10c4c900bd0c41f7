import type { Socket } from "node:net";
import { type ChannelModel, type ConfirmChannel, connect } from "amqplib";
import type { FlightMessages } from "./flightMessage.ts";
import { declareTopology, EXCHANGE } from "./topology.ts";

/** What one connection may have published without a confirm; bounds what amqplib keeps in memory for it. */
const IN_FLIGHT_MAX = 2_000;
const RECONNECT_MS = 50;
/**
 * Nagle's algorithm off (with it a confirm takes 40 ms), and room for a burst: amqplib stops at a full socket and goes on uncorked.
 */
const SOCKET_OPTIONS = { noDelay: true, writableHighWaterMark: 1024 * 1024 };

export interface PublisherEvents {
  connected(): void;
  confirmed(id: number): void;
  /** Published, and the connection is gone before the confirm came. */
  lost(ids: Iterable<number>): void;
}

/** One connection with one confirm channel; comes back by itself for as long as the process lives. */
export class PublisherConnection {
  reconnects = 0;
  private channel: ConfirmChannel | undefined;
  private socket: Socket | undefined;
  private inFlight = new Set<number>();

  constructor(
    private readonly port: number,
    private readonly messages: FlightMessages,
    private readonly events: PublisherEvents,
  ) {}

  get inFlightCount(): number {
    return this.inFlight.size;
  }

  get hasRoom(): boolean {
    return this.channel !== undefined && this.inFlight.size < IN_FLIGHT_MAX;
  }

  async open(): Promise<void> {
    for (;;) {
      try {
        const connection = await connect({ hostname: "127.0.0.1", port: this.port }, SOCKET_OPTIONS);
        await this.use(connection);
        return;
      } catch (error) {
        if (!isConnectionLoss(error)) throw error;
        await new Promise((resolve) => setTimeout(resolve, RECONNECT_MS));
      }
    }
  }

  /** Only with room. The result of amqplib's publish is not looked at: IN_FLIGHT_MAX bounds its buffer. */
  publish(id: number): void {
    const inFlight = this.inFlight;
    inFlight.add(id);
    this.channel?.publish(
      EXCHANGE,
      this.messages.routingKey(id),
      this.messages.content(id),
      { persistent: true, messageId: String(id), contentType: "application/json" },
      (error) => {
        if (!inFlight.delete(id)) return;
        if (error) this.events.lost([id]);
        else this.events.confirmed(id);
      },
    );
  }

  /**
   * Around a burst of publishes. amqplib gives its socket one small write a message, and each would be a system call of its own; corked
   * they leave together: 49,000 flights a second become 71,000. amqplib writes in an immediate that it asks for in a tick; so do we, after it.
   */
  burst(publishAll: () => void): void {
    const { socket } = this;
    socket?.cork();
    publishAll();
    process.nextTick(() => setImmediate(() => socket?.uncork()));
  }

  private async use(connection: ChannelModel): Promise<void> {
    connection.on("error", () => undefined); // "close" follows
    const gone = new Promise<void>((resolve) => connection.once("close", () => resolve()));
    const channel = await connection.createConfirmChannel();
    channel.on("error", (error) => {
      throw error; // the node refused what we said: nothing to try again
    });
    await declareTopology(channel);
    this.channel = channel;
    // not in amqplib's types, but the one place where its socket can be had
    this.socket = (connection.connection as unknown as { stream: Socket }).stream;
    void gone.then(() => this.reconnect());
    this.events.connected();
  }

  private async reconnect(): Promise<void> {
    this.channel = undefined;
    this.reconnects++;
    const lost = this.inFlight;
    this.inFlight = new Set();
    this.events.lost(lost);
    await this.open();
  }
}

function isConnectionLoss(error: unknown): boolean {
  const code = (error as { code?: unknown }).code;
  if (typeof code === "string") return /^(ECONN|EPIPE|ETIMEDOUT)/.test(code);
  return (
    error instanceof Error && /closed|closing|ended|socket|handshake|reset/i.test(error.message) && !/\b[345]\d\d\b/.test(error.message)
  );
}
