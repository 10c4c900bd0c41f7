/** The engine from segment files to windows: decode, keyBy, tumbling, aggregate. The limit: the same in a loop written by hand. */
import { aggregate, count, keyBy, max, mean, pipeline, type Sink, tumbling } from "millrace";
import { FlightMessages } from "../demo/flightMessage.ts";
import { readFlights } from "../demo/flightsFile.ts";
import { flightsPath } from "../demo/paths.ts";
import { Flight, flights } from "../pipelines/flight.ts";
import { systemClock } from "../src/base/clock.ts";
import { silentLogger } from "../src/base/logger.ts";
import { nodeFileSystem } from "../src/base/nodeFileSystem.ts";
import type { EmbeddedLog } from "../src/log/contract/embeddedLog.ts";
import { partitionFor } from "../src/record/partitioner.ts";
import { Receipt } from "../src/record/receipt.ts";
import { RecordCursor } from "../src/record/recordCursor.ts";
import { runTask } from "../src/stream/runTask.ts";
import { type BenchPart, measure, type Printer } from "./measure.ts";
import { inFolder, withLog } from "./workspace.ts";

const FLIGHTS = 100_000;
const FLIGHTS_A_TURN = 1_000;
const PARTITIONS = 4;
const PULL_BYTES = 1024 * 1024;
const HOUR_MS = 3_600_000;
const ROUNDS = 3;

/** As the demo's publisher and the broker would put them there. */
async function fill(log: EmbeddedLog): Promise<void> {
  await log.createTopic(flights.name, { partitions: PARTITIONS, sync: { kind: "never" } });
  const topic = log.topic(flights.name);
  const original = await readFlights(flightsPath, FLIGHTS);
  const messages = new FlightMessages(original);
  for (let first = 0; first < FLIGHTS; first += FLIGHTS_A_TURN) {
    await new Promise<void>((resolve) => {
      const receipt = new Receipt(() => resolve());
      for (let id = first; id < first + FLIGHTS_A_TURN; id++) {
        const key = Buffer.from(messages.routingKey(id));
        const record = { key, value: messages.content(id), headers: [], timestamp: original.dates[id] as number };
        topic?.append(partitionFor(key, PARTITIONS), record, receipt);
      }
      receipt.seal();
    });
  }
}

/** Counts the rows and drops them: the file's cost is measured elsewhere. */
function countingSink(counted: () => void): Sink<unknown> {
  return {
    kind: "sink",
    name: "count",
    wants: "anything",
    open: async () => ({
      write: counted,
      drained: async () => undefined,
      snapshot: async () => ({ pending: [], resume: null }),
      commit: async () => undefined,
      committed: async () => undefined,
      close: async () => undefined,
    }),
  };
}

async function withEngine(log: EmbeddedLog): Promise<number> {
  let windows = 0;
  const hourly = pipeline("bench", ({ source, output, sink }) => {
    const late = output("late", Flight);
    const rows = source(flights, { eventTime: (flight) => flight.date, outOfOrderness: "2 h" }).pipe(
      keyBy("origin"),
      tumbling("1 h", { late }),
      aggregate({ flights: count(), meanDelay: mean((flight) => flight.delay), worst: max((flight) => flight.delay) }),
    );
    sink(
      rows,
      countingSink(() => windows++),
    );
    sink(
      late,
      countingSink(() => undefined),
      { id: "late" },
    );
  });
  const task = runTask(hourly, {
    log,
    checkpoints: { load: async () => undefined, commit: async () => undefined },
    fileSystem: nodeFileSystem,
    clock: systemClock,
    logger: silentLogger,
    baseDirectory: ".",
    options: { checkpointIntervalMs: 1_000, pullBytesMax: PULL_BYTES },
  });
  await task.drain();
  return windows;
}

interface Hour {
  flights: number;
  delays: number;
  worst: number;
}

async function byHand(log: EmbeddedLog): Promise<number> {
  const hours = new Map<string, Hour>();
  for (const descriptor of (await log.describeTopic(flights.name))?.partitions ?? []) {
    const reader = await log.openReader(descriptor);
    const end = reader.highWatermark();
    for (let offset = 0; offset < end; ) {
      const cursor = new RecordCursor(await reader.read(offset, PULL_BYTES / PARTITIONS));
      while (cursor.next()) {
        offset = cursor.offset + 1;
        const { origin, date, delay } = JSON.parse(cursor.value()?.toString() ?? "") as { origin: string; date: string; delay: number };
        const key = `${origin} ${Math.floor(Date.parse(date) / HOUR_MS)}`;
        const hour = hours.get(key);
        if (hour === undefined) hours.set(key, { flights: 1, delays: delay, worst: delay });
        else {
          hour.flights++;
          hour.delays += delay;
          hour.worst = Math.max(hour.worst, delay);
        }
      }
    }
    await reader.close();
  }
  return hours.size;
}

export const window: BenchPart = {
  name: "window",
  run: (print: Printer) =>
    inFolder((folder) =>
      withLog(folder, async (log) => {
        await fill(log);
        let expected = 0;
        const limit = await measure(FLIGHTS, async () => void (expected = await byHand(log)), ROUNDS);
        const measured = await measure(
          FLIGHTS,
          async () => {
            const windows = await withEngine(log);
            if (windows !== expected) throw new Error(`${windows} windows instead of ${expected}`);
          },
          ROUNDS,
        );
        print.line("window: decode, keyBy, tumbling, aggregate", measured, { name: "a loop by hand", measured: limit });
      }),
    ),
};
