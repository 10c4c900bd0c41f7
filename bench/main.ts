/**
 * `npm run bench`, or `npm run bench -- codec line`: each part of the line alone, then the line whole. `npm run bench -- log`: the table of
 * what the log promises, `-- log --large` with sizes up to 30 GB, `-- log.sizes` one part of it.
 */
import os from "node:os";
import { append } from "./append.ts";
import { codec } from "./codec.ts";
import { line } from "./line.ts";
import { logParts } from "./log/table.ts";
import { type BenchPart, Printer } from "./measure.ts";
import { parquet } from "./parquet.ts";
import { read } from "./read.ts";
import { routing } from "./routing.ts";
import { window } from "./window.ts";
import { removeFoldersOnSignals } from "./workspace.ts";

const parts: readonly BenchPart[] = [codec, routing, append, read, window, parquet, line];

const largeFlag = "--large";
const names = process.argv.slice(2).filter((argument) => argument !== largeFlag);
const known = [...parts, ...logParts(process.argv.includes(largeFlag))];
const unknown = names.filter((name) => !known.some((part) => part.name === name));
if (unknown.length > 0) {
  console.error(`no such part: ${unknown.join(", ")}; there are ${known.map(({ name }) => name).join(", ")}`);
  process.exit(2);
}
const chosen = names.length === 0 ? parts : known.filter(({ name }) => names.includes(name));
removeFoldersOnSignals();
const [processor] = os.cpus();
console.log(`Node ${process.version}, ${os.cpus().length} cores (${processor?.model ?? "unknown"}), ${os.platform()} ${os.release()}`);
console.log(`load before the run: ${os.loadavg()[0]?.toFixed(1)}\n`);
const print = new Printer();
for (const part of chosen) await part.run(print);
process.exit(0);
