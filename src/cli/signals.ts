import { ExitCode } from "./exitCodes.ts";
import { say } from "./terminal.ts";

/** Calls `stop` at the first SIGINT or SIGTERM; a second one ends the process at once. Returns what takes the handlers away. */
export function stopOnSignals(stop: (signal: "SIGINT" | "SIGTERM") => void): () => void {
  let asked = false;
  const handle = (signal: "SIGINT" | "SIGTERM") => (): void => {
    if (asked) process.exit(signal === "SIGINT" ? ExitCode.forcedBySigint : ExitCode.forcedBySigterm);
    asked = true;
    say(`${signal}: closing; once more ends it at once`);
    stop(signal);
  };
  const handlers = { SIGINT: handle("SIGINT"), SIGTERM: handle("SIGTERM") };
  for (const [signal, handler] of Object.entries(handlers)) process.on(signal, handler);
  return () => {
    for (const [signal, handler] of Object.entries(handlers)) process.off(signal, handler);
  };
}
