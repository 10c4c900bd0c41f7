/**
 * Publishes to many queues at once, confirmed when synced. The limit: the same bytes in as many writes and syncs of a zero-filled file. Then a
 * thousand callers of which each waits for its one message.
 */
import { Receipt } from "../../src/record/receipt.ts";
import { inFolder } from "../workspace.ts";
import { MiB } from "./batches.ts";
import { AcknowledgingConsumer, declareQueues, messageTo, openBenchBroker } from "./brokers.ts";
import { MESSAGE_BYTES, publishAll } from "./publishing.ts";
import { inTurns, medianOf, timed } from "./rounds.ts";
import { cpuEach, megabytesPerSecond, perSecond, type Row, type TableOptions } from "./row.ts";
import { ZeroFilledFile } from "./zeroFilled.ts";

const ROUND_BYTES = 64 * MiB;
const ROUNDS = 9;
const CONSUMED_RATIO_LEAST = 0.7;
const PARKED_RATIO_LEAST = 0.35;
/** Small, so that what nobody consumes moves out of it during the run. */
const parkedConfig = { journalBytesMax: 192 * MiB };

const CALLERS = 1000;
const CALLS_EACH = 200;
const CALLER_BYTES = 100;
const CALLS_S_LEAST = 200_000;

function published(queueCount: number, consumed: boolean, rounds: number) {
  return inFolder(async (folder) => {
    const bench = await openBenchBroker(folder, consumed ? {} : parkedConfig);
    const addresses = await declareQueues(bench.host, queueCount, bench);
    if (consumed) for (const { routingKey } of addresses) bench.host.consume(routingKey, new AcknowledgingConsumer());
    const file = await ZeroFilledFile.create(folder);
    let commits = 1;
    const thing = (): Promise<number> =>
      timed(async () => {
        const before = bench.journal.stats.syncs;
        await publishAll(bench, addresses, ROUND_BYTES);
        commits = bench.journal.stats.syncs - before;
      });
    let peerCommits = 1;
    const peer = (): Promise<number> => {
      peerCommits = commits;
      const bytes = Buffer.alloc(Math.ceil(ROUND_BYTES / peerCommits), "x");
      return timed(() => file.writeAndSync(bytes, peerCommits));
    };
    // the first round tells the peer how many commits there are
    await thing();
    const result = await inTurns(rounds, thing, peer);
    await bench.close();
    await file.close();
    return { ...result, commitBytes: ROUND_BYTES / peerCommits };
  });
}

function called(consumed: boolean, effort: number): Promise<number> {
  return inFolder(async (folder) => {
    const bench = await openBenchBroker(folder);
    const [address] = await declareQueues(bench.host, 1, bench);
    if (address === undefined) throw new Error("there is no queue");
    if (consumed) bench.host.consume(address.routingKey, new AcknowledgingConsumer());
    const message = messageTo(address, Buffer.alloc(CALLER_BYTES, "x"));
    const publish = (): Promise<void> =>
      new Promise((resolve, reject) => {
        const receipt = new Receipt((failure) => (failure === undefined ? resolve() : reject(failure)));
        bench.host.publish(message, receipt);
        receipt.seal();
      });
    const caller = async (): Promise<void> => {
      for (let n = 0; n < CALLS_EACH * effort; n++) await publish();
    };
    const ms = await medianOf(5, () => timed(() => Promise.all(Array.from({ length: CALLERS }, caller))));
    await bench.close();
    return ms;
  });
}

export async function queues({ effort }: TableOptions, tell: (row: Row) => void): Promise<void> {
  for (const consumed of [true, false]) {
    for (const count of [1, 10, 100]) {
      const { ms, cpuMs, peerMs, ratio, commitBytes } = await published(count, consumed, ROUNDS * effort);
      tell({
        name: `publish 1 KiB to ${count} ${count === 1 ? "queue" : "queues"}, ${consumed ? "consumed behind it" : "nobody consuming"}`,
        value: `${megabytesPerSecond(ROUND_BYTES, ms)}, ${cpuEach(cpuMs, ROUND_BYTES / MESSAGE_BYTES, "message")}`,
        limit: `${megabytesPerSecond(ROUND_BYTES, peerMs)} in writes of ${Math.round(commitBytes / 1024)} KiB`,
        reached: ratio,
        target: consumed ? CONSUMED_RATIO_LEAST : PARKED_RATIO_LEAST,
        bound: "least",
        unit: "ratio",
      });
    }
  }
}

export async function callers({ effort }: TableOptions, tell: (row: Row) => void): Promise<void> {
  const count = CALLERS * CALLS_EACH * effort;
  for (const consumed of [false, true]) {
    const ms = await called(consumed, effort);
    tell({
      name: `1,000 callers await 100 B each, ${consumed ? "consumed behind it" : "nobody consuming"}`,
      value: perSecond(count, ms, "messages"),
      reached: (count / ms) * 1000,
      target: CALLS_S_LEAST,
      bound: "least",
      unit: "messages/s",
    });
  }
}
