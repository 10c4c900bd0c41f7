import { inFolder } from "./workspace.ts";
import { AcknowledgingConsumer, declareQueues, openBenchBroker } from "./log/brokers.ts";
import { publishAll } from "./log/publishing.ts";
const [, , count = "1", rounds = "15", consumed = "1"] = process.argv;
await inFolder(async (folder) => {
  const bench = await openBenchBroker(folder);
  const addresses = await declareQueues(bench.host, Number(count), bench);
  if (consumed === "1") for (const { routingKey } of addresses) bench.host.consume(routingKey, new AcknowledgingConsumer());
  const res: number[][] = [];
  for (let r = 0; r < Number(rounds); r++) {
    const c0 = process.cpuUsage(), t0 = performance.now(), s0 = bench.journal.stats.syncs;
    await publishAll(bench, addresses, 64 << 20);
    const c = process.cpuUsage(c0);
    res.push([c.user / 65536, c.system / 65536, performance.now() - t0, bench.journal.stats.syncs - s0]);
  }
  const med = (k: number) => res.slice(3).map((x) => x[k]!).sort((a, b) => a - b)[Math.floor((res.length - 3) / 2)]!;
  const min = (k: number) => Math.min(...res.slice(3).map((x) => x[k]!));
  console.log(`user ${med(0).toFixed(2)} (min ${min(0).toFixed(2)}) sys ${med(1).toFixed(2)} (min ${min(1).toFixed(2)}) us/msg, wall ${med(2).toFixed(0)} (min ${min(2).toFixed(0)}) ms, syncs ${med(3)}`);
  await bench.close();
});
process.exit(0);
