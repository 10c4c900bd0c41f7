import { declareQueues, openBenchBroker, messageTo } from "./log/brokers.ts";
import { Receipt } from "../src/record/receipt.ts";
const [, , folder = ""] = process.argv;
const t0 = performance.now(), c0 = process.cpuUsage();
const bench = await openBenchBroker(folder);
const t1 = performance.now();
const [address] = await declareQueues(bench.host, 1, bench);
const first = await bench.host.get(address!.routingKey, false, bench);
first!.queue.acknowledge(first!.delivery.offset);
const t2 = performance.now();
await new Promise<void>((resolve, reject) => {
  const receipt = new Receipt((failure) => (failure === undefined ? resolve() : reject(failure)));
  bench.host.publish(messageTo(address!, Buffer.alloc(1024)), receipt);
  receipt.seal();
});
const t3 = performance.now(), c = process.cpuUsage(c0);
console.log(`open ${(t1-t0).toFixed(0)} get ${(t2-t1).toFixed(0)} publish ${(t3-t2).toFixed(0)} total ${(t3-t0).toFixed(0)} cpu user ${(c.user/1000).toFixed(0)} sys ${(c.system/1000).toFixed(0)}`);
process.exit(0);
