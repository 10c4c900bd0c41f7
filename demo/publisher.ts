/** Publishes flights: a process of its own, as a service that uses Millrace would be. */
import { Random } from "../src/base/random.ts";
import { FlightMessages } from "./flightMessage.ts";
import { readFlights } from "./flightsFile.ts";
import { onParent, tellParent } from "./parent.ts";
import type { FromPublisher, PublisherProgress, PublisherSettings, ToPublisher } from "./processMessages.ts";
import { PublisherConnection } from "./publisherConnection.ts";
import { chooseHeldBack, PublishPlan } from "./publishPlan.ts";

/** Published in one turn of the loop; then what arrived is looked at. */
const BURST = 200;
const PROGRESS_MS = 50;

class Publisher {
  private readonly connections: PublisherConnection[] = [];
  private pumpScheduled = false;
  private republished = 0;
  private startedAt: number | undefined;
  private finished = false;
  private tellAt: number | undefined;

  constructor(
    private readonly plan: PublishPlan,
    private readonly messages: FlightMessages,
    settings: PublisherSettings,
  ) {
    const events = {
      connected: () => this.schedulePump(),
      confirmed: (id: number) => {
        plan.confirm(id);
        this.schedulePump();
      },
      lost: (ids: Iterable<number>) => {
        const list = [...ids];
        this.republished += list.length;
        plan.lose(list);
        this.schedulePump();
      },
    };
    for (let n = 0; n < settings.connections; n++) this.connections.push(new PublisherConnection(settings.port, this.messages, events));
  }

  async open(): Promise<void> {
    for (const connection of this.connections) await connection.open();
    setInterval(() => this.report(), PROGRESS_MS);
  }

  go(limit: number, tellAt: number | undefined): void {
    this.startedAt ??= performance.now();
    this.tellAt = tellAt;
    this.plan.limit = limit;
    this.schedulePump();
  }

  private schedulePump(): void {
    if (this.pumpScheduled || this.startedAt === undefined) return;
    this.pumpScheduled = true;
    setImmediate(() => {
      this.pumpScheduled = false;
      this.pump();
    });
  }

  private pump(): void {
    let held = false;
    for (const connection of this.connections) {
      if (held || !connection.hasRoom) continue;
      connection.burst(() => {
        for (let n = 0; n < BURST && connection.hasRoom && !held; n++) {
          const id = this.plan.next();
          if (id === undefined) held = true;
          else connection.publish(id);
        }
      });
    }
    this.tellIfReached();
    if (held) this.finishIfDone();
    else if (this.connections.some((connection) => connection.hasRoom)) this.schedulePump();
  }

  private tellIfReached(): void {
    if (this.tellAt === undefined || this.plan.position <= this.tellAt) return;
    tellParent<FromPublisher>({ kind: "reached", id: this.tellAt });
    this.tellAt = undefined;
  }

  private finishIfDone(): void {
    if (!this.plan.done || this.finished) return;
    this.finished = true;
    const seconds = (performance.now() - (this.startedAt ?? 0)) / 1000;
    tellParent<FromPublisher>({ kind: "done", seconds, ...this.progress() });
  }

  private report(): void {
    if (!this.finished) tellParent<FromPublisher>({ kind: "progress", ...this.progress() });
  }

  private progress(): PublisherProgress {
    let inFlight = 0;
    let reconnects = 0;
    for (const connection of this.connections) {
      inFlight += connection.inFlightCount;
      reconnects += connection.reconnects;
    }
    return { position: this.plan.position, confirmed: this.plan.confirmed, inFlight, republished: this.republished, reconnects };
  }
}

async function prepare(settings: PublisherSettings): Promise<Publisher> {
  const flights = await readFlights(settings.flights, settings.events);
  const { dates, count } = flights;
  const heldBack = chooseHeldBack(dates, count, {
    oneIn: settings.heldBackOneIn,
    heldBackMs: settings.heldBackMs,
    random: new Random(settings.seed),
  });
  const plan = new PublishPlan({ dates, count, disorderMs: settings.disorderMs, heldBack, heldBackMs: settings.heldBackMs });
  const publisher = new Publisher(plan, new FlightMessages(flights), settings);
  await publisher.open();
  tellParent<FromPublisher>({ kind: "loaded", count, lastDate: dates[count - 1] ?? 0, heldBack });
  return publisher;
}

let publisher: Promise<Publisher> | undefined;
onParent<ToPublisher>(async (message) => {
  if (message.kind === "settings") publisher = prepare(message.settings);
  else (await publisher)?.go(message.limit, message.tellAt);
});
