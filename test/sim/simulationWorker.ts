/** Runs one seed after the other, as it is told, in a thread of its own. */
import { parentPort } from "node:worker_threads";
import type { BlockCounter } from "./blockCounter.ts";
import { type SimulationResult, simulate } from "./simulation.ts";

export interface Assignment {
  readonly seed: number;
  readonly operations: number;
  readonly trace: boolean;
}

/** The last message of a worker, or the result of a seed. */
export type WorkerMessage =
  | { readonly kind: "result"; readonly seed: number; readonly result: SimulationResult }
  | { readonly kind: "trace"; readonly line: string }
  | { readonly kind: "blocks"; readonly seeds: Uint16Array | undefined };

export function work(blocks: BlockCounter | undefined): void {
  const port = parentPort;
  if (port === null) throw new Error("this runs in a worker thread");
  const send = (message: WorkerMessage): void => port.postMessage(message);

  /** What nobody waited for. A dead process's loose ends are no failure: everything that it touches tells it that it is dead. */
  const loose: unknown[] = [];
  process.on("unhandledRejection", (error) => {
    if (!String((error as { code?: unknown } | undefined)?.code).startsWith("SIMULATED_")) loose.push(error);
  });

  port.on("message", async (message: Assignment | "end") => {
    if (message === "end") {
      send({ kind: "blocks", seeds: blocks?.seeds });
      return port.close();
    }
    const { seed, operations, trace } = message;
    const result = await simulate(seed, operations, trace ? (line) => send({ kind: "trace", line }) : undefined);
    const [left] = loose.splice(0);
    const failure =
      left === undefined
        ? result.failure
        : `${result.failure ?? ""}\nnobody waited for this: ${left instanceof Error ? left.stack : String(left)}`;
    blocks?.seedIsOver();
    send({ kind: "result", seed, result: { ...result, failure } });
  });
}
