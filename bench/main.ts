/** `npm run bench`, or `npm run bench -- codec line`: each part of the line alone, then the line whole. */
import os from "node:os";
import { append } from "./append.ts";
import { codec } from "./codec.ts";
import { line } from "./line.ts";
import { Printer, type Segment } from "./measure.ts";
import { parquet } from "./parquet.ts";
import { read } from "./read.ts";
import { routing } from "./routing.ts";
import { window } from "./window.ts";

const segments: readonly Segment[] = [codec, routing, append, read, window, parquet, line];

const asked = process.argv.slice(2);
const unknown = asked.filter((name) => !segments.some((segment) => segment.name === name));
if (unknown.length > 0) {
  console.error(`no such segment: ${unknown.join(", ")}; there are ${segments.map(({ name }) => name).join(", ")}`);
  process.exit(2);
}
const [processor] = os.cpus();
console.log(`Node ${process.version}, ${os.cpus().length} cores (${processor?.model ?? "unknown"}), ${os.platform()} ${os.release()}`);
console.log(`load before the run: ${os.loadavg()[0]?.toFixed(1)}\n`);
const print = new Printer();
print.head();
for (const segment of segments) {
  if (asked.length === 0 || asked.includes(segment.name)) await segment.run(print);
}
process.exit(0);
