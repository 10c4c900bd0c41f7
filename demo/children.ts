import { type ChildProcess, fork, type SpawnOptions, spawn } from "node:child_process";

/** Every process that the demo starts; whatever way the demo ends, none of them outlives it. */
export class Children {
  private readonly alive = new Set<ChildProcess>();

  constructor() {
    process.on("exit", () => this.killAll());
    for (const [signal, code] of [
      ["SIGINT", 130],
      ["SIGTERM", 143],
      ["SIGHUP", 129],
    ] as const) {
      process.on(signal, () => process.exit(code)); // which kills them
    }
  }

  /** One of the demo's own processes, with a channel to it. `failed` is called when it ends by itself with an error. */
  fork(file: string, failed: (what: string) => void): ChildProcess {
    const child = fork(file, { stdio: ["ignore", "inherit", "inherit", "ipc"] });
    return this.keep(child, (code, signal) => {
      if (code !== 0) failed(`${file} ended with ${code === null ? signal : `exit code ${code}`}`);
    });
  }

  spawn(args: readonly string[], options: SpawnOptions): ChildProcess {
    return this.keep(spawn(process.execPath, args, options), () => undefined);
  }

  killAll(): void {
    for (const child of this.alive) child.kill("SIGKILL");
  }

  private keep(child: ChildProcess, ended: (code: number | null, signal: string | null) => void): ChildProcess {
    this.alive.add(child);
    child.on("exit", (code, signal) => {
      this.alive.delete(child);
      ended(code, signal);
    });
    return child;
  }
}

export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export const exitOf = (child: ChildProcess): Promise<Exit> =>
  new Promise((resolve) => {
    if (child.exitCode !== null || child.signalCode !== null) resolve({ code: child.exitCode, signal: child.signalCode });
    else child.once("exit", (code, signal) => resolve({ code, signal }));
  });
