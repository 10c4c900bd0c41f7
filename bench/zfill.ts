import { declareQueues, openBenchBroker } from "./log/brokers.ts";
import { publishAll } from "./log/publishing.ts";
const [, , folder = "", gb = "1"] = process.argv;
const bench = await openBenchBroker(folder);
await publishAll(bench, await declareQueues(bench.host, 1, bench), Number(gb) * 1e9);
console.log(bench.journal.stats);
process.kill(process.pid, "SIGKILL");
