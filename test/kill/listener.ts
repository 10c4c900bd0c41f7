import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import type { Said } from "./messages.ts";

/** What a child says, line by line, until it is killed. */
export class Listener {
  readonly said: Said[] = [];
  private rest = "";
  private wake = (): void => undefined;
  private closed = false;
  private appends = 0;

  constructor(private readonly child: ChildProcess) {
    child.stdout?.setEncoding("utf8").on("data", (text: string) => {
      const lines = (this.rest + text).split("\n");
      this.rest = lines.pop() ?? ""; // a line that the kill cut short was not said: it would have gone on only after it
      for (const line of lines) {
        const said = JSON.parse(line) as Said;
        this.said.push(said);
        if (said.kind === "appended") this.appends++;
      }
      this.wake();
    });
    child.once("close", () => {
      this.closed = true;
      this.wake();
    });
  }

  get pid(): number | undefined {
    return this.child.pid;
  }

  /** Resolves when it has said what it found, and then of so many appends; or when it has ended. */
  async heardAfterStart(appends: number): Promise<void> {
    while (!this.closed && (this.said.length === 0 || this.appends < appends)) {
      await new Promise<void>((resolve) => {
        this.wake = resolve;
      });
    }
  }

  /** Resolves when everything that it said is here. */
  async kill(): Promise<void> {
    this.child.kill("SIGKILL");
    if (!this.closed) await once(this.child, "close");
  }
}
