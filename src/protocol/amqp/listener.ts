import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import type { Clock } from "../../base/clock.ts";
import { MillraceError } from "../../base/errors.ts";
import type { Logger } from "../../base/logger.ts";
import type { Broker } from "../../broker/contract.ts";
import { BufferPool } from "./bufferPool.ts";
import type { AmqpLimits } from "./config.ts";
import { Connection, type ConnectionSurroundings } from "./connection.ts";
import { Turns } from "./turns.ts";

export interface AmqpListenerOptions {
  readonly broker: Broker;
  readonly host: string;
  /** 0 takes a free one. */
  readonly port: number;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly limits: AmqpLimits;
  /** What clients are told in connection.start. */
  readonly version: string;
}

/** AMQP 0-9-1 on one address. */
export class AmqpListener {
  private readonly open = new Set<Connection>();
  private readonly around: ConnectionSurroundings;
  private accepting = true;

  constructor(
    private readonly server: Server,
    options: AmqpListenerOptions,
  ) {
    this.around = { ...options, turns: new Turns(), pool: new BufferPool() };
    server.maxConnections = options.limits.connectionsMax;
    server.on("connection", (socket) => this.accept(socket));
    server.on("drop", () =>
      options.logger.warn("AMQP connection refused: connectionsMax is reached", { limit: options.limits.connectionsMax }),
    );
  }

  get host(): string {
    return (this.server.address() as AddressInfo | null)?.address ?? "";
  }

  get port(): number {
    return (this.server.address() as AddressInfo | null)?.port ?? 0;
  }

  get connections(): number {
    return this.open.size;
  }

  private accept(socket: Socket): void {
    const peer = `${socket.remoteAddress}:${socket.remotePort}`;
    const around = { ...this.around, logger: this.around.logger.child({ peer }) };
    const connection = new Connection(socket, around, isLoopback(socket.remoteAddress ?? ""));
    this.open.add(connection);
    void connection.gone.then(() => this.open.delete(connection));
  }

  /** No new connections; those that are open go on. */
  pauseAccepting(): void {
    if (this.accepting) this.server.close();
    this.accepting = false;
  }

  /** Clients are told, what they published is confirmed if that comes soon, and everything they had goes back to the broker. */
  async close(): Promise<void> {
    this.pauseAccepting();
    await Promise.all([...this.open].map((connection) => connection.shutDown()));
  }
}

export function listenAmqp(options: AmqpListenerOptions): Promise<AmqpListener> {
  const { host, port } = options;
  const server = createServer({ noDelay: true });
  return new Promise((resolve, reject) => {
    const failed = (error: NodeJS.ErrnoException): void => reject(listenError(error, host, port));
    server.once("error", failed);
    const listener = new AmqpListener(server, options);
    server.listen({ host, port }, () => {
      server.off("error", failed);
      server.on("error", (error) => options.logger.error("AMQP listener failed", { error }));
      resolve(listener);
    });
  });
}

function listenError(cause: NodeJS.ErrnoException, host: string, port: number): MillraceError {
  const where = `amqp://${host}:${port}`;
  if (cause.code === "EADDRINUSE") {
    const hint = "Choose another port (listeners.amqp.port), or stop the program that has it.";
    return new MillraceError("PORT_TAKEN", `port ${port} is taken`, { domain: "user", where, hint, cause });
  }
  const hint = "Look at listeners.amqp.host and listeners.amqp.port.";
  return new MillraceError("LISTEN_FAILED", "AMQP can't be listened for", { domain: "user", where, hint, cause });
}

function isLoopback(address: string): boolean {
  return address === "::1" || address.startsWith("127.") || address.startsWith("::ffff:127.");
}
