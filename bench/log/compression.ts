/**
 * How long a sync takes while a worker thread compresses without pause, against the same while it rests: both share libuv's pool. In a
 * process of its own, with the pool as large as the environment says (UV_THREADPOOL_SIZE; four threads without it), as a node has it.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { milliseconds, type Row, type TableOptions } from "./row.ts";

const P99_RATIO_MOST = 2;
const childProgram = fileURLToPath(new URL("./compressionChild.js", import.meta.url));

export async function compression({ effort }: TableOptions, tell: (row: Row) => void): Promise<void> {
  const child = spawn(process.execPath, [childProgram, String(effort)], { stdio: ["ignore", "pipe", "inherit"] });
  let output = "";
  child.stdout.on("data", (chunk) => {
    output += chunk;
  });
  const [code] = await once(child, "close");
  if (code !== 0) throw new Error(`the process that syncs and compresses ended with ${code}`);
  const { quietMs, busyMs } = JSON.parse(output) as { quietMs: number; busyMs: number };
  tell({
    name: "append 4 KiB and sync while a worker compresses (zstd), p99",
    value: milliseconds(busyMs),
    limit: `${milliseconds(quietMs)} while it rests`,
    reached: busyMs / quietMs,
    target: P99_RATIO_MOST,
    bound: "most",
    unit: "ratio",
  });
}
