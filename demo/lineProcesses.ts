/** The publisher's and a consumer's process, as the demo sees them. */
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import type { Children } from "./children.ts";
import { demoProcess } from "./paths.ts";
import type {
  ConsumerProgress,
  ConsumerSettings,
  FromConsumer,
  FromPublisher,
  PublisherProgress,
  PublisherSettings,
  ToConsumer,
  ToPublisher,
} from "./processMessages.ts";

type Loaded = Extract<FromPublisher, { kind: "loaded" }>;
type Done = Extract<FromPublisher, { kind: "done" }>;

export class PublisherProcess {
  progress: PublisherProgress = { position: 0, confirmed: 0, inFlight: 0, republished: 0, reconnects: 0 };
  readonly loaded: Promise<Loaded>;
  readonly done: Promise<Done>;
  private readonly child: ChildProcess;

  constructor(children: Children, settings: PublisherSettings, failed: (what: string) => void) {
    this.child = children.fork(demoProcess("publisher"), failed);
    const heard = <K extends FromPublisher["kind"]>(kind: K): Promise<Extract<FromPublisher, { kind: K }>> =>
      new Promise((resolve) => {
        this.child.on("message", (message: FromPublisher) => {
          if (message.kind === kind) resolve(message as Extract<FromPublisher, { kind: K }>);
        });
      });
    this.loaded = heard("loaded");
    this.done = heard("done");
    this.child.on("message", (message: FromPublisher) => {
      if (message.kind === "progress" || message.kind === "done") this.progress = message;
    });
    this.tell({ kind: "settings", settings });
  }

  /** Publishes up to this id and waits there. */
  go(limit: number): void {
    this.tell({ kind: "go", limit });
  }

  /** The same, and resolves in the moment in which the flight before `id` is on its way. */
  goPast(id: number, limit: number): Promise<void> {
    return new Promise((resolve) => {
      const reached = (message: FromPublisher): void => {
        if (message.kind !== "reached" || message.id !== id) return;
        this.child.off("message", reached);
        resolve();
      };
      this.child.on("message", reached);
      this.tell({ kind: "go", limit, tellAt: id });
    });
  }

  /** It ends without its channel. */
  close(): void {
    this.child.disconnect();
  }

  private tell(message: ToPublisher): void {
    this.child.send(message);
  }
}

export class ConsumerProcess {
  progress: ConsumerProgress = { seen: 0, redelivered: 0, unacknowledged: 0 };
  readonly ready: Promise<unknown>;
  private readonly child: ChildProcess;

  constructor(
    children: Children,
    program: "consumerAmqplib" | "consumerRabbitmqClient",
    readonly settings: ConsumerSettings,
    failed: (what: string) => void,
  ) {
    this.child = children.fork(demoProcess(program), failed);
    this.ready = once(this.child, "message");
    this.child.on("message", (message: FromConsumer) => {
      if (message.kind === "progress") this.progress = message;
    });
    this.tell({ kind: "settings", settings });
  }

  /** Acknowledges what is open, writes down what it saw, and ends. */
  async finish(): Promise<void> {
    const finished = new Promise<void>((resolve) => {
      this.child.on("message", (message: FromConsumer) => {
        if (message.kind === "finished") resolve();
      });
    });
    this.tell({ kind: "finish" });
    await finished;
    this.child.disconnect();
  }

  private tell(message: ToConsumer): void {
    this.child.send(message);
  }
}
