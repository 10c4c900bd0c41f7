import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const childProgram = fileURLToPath(new URL("./restartChild.js", import.meta.url));

export type VictimKind = "topic" | "queue" | "many";

/** What it says of itself when it is ready. */
export interface VictimReport {
  /** From opening to the first read and append. */
  readonly readyMs: number;
  /** With Node's own start, and the modules'. */
  readonly processMs: number;
  /** What opening made the heap and the buffers larger, garbage apart. */
  readonly bytes: number;
  /** Files that it has open. */
  readonly handles: number;
}

/** A process of its own that writes when it is killed. */
export class Victim {
  private constructor(
    private readonly child: ChildProcess,
    readonly report: VictimReport,
  ) {}

  static async start(kind: VictimKind, folder: string): Promise<Victim> {
    const child = spawn(process.execPath, [childProgram, kind, folder], { stdio: ["ignore", "pipe", "inherit"] });
    const [line] = (await Promise.race([
      once(createInterface(child.stdout as NodeJS.ReadableStream), "line"),
      once(child, "exit").then(([code]) => {
        throw new Error(`the process that was to be killed ended with ${code}`);
      }),
    ])) as [string];
    return new Victim(child, JSON.parse(line) as VictimReport);
  }

  /** In the midst of writing. */
  async kill(): Promise<void> {
    await new Promise((resolve) => setTimeout(resolve, 500));
    this.child.kill("SIGKILL");
    await once(this.child, "exit");
  }
}
