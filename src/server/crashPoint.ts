import type { TaskStep } from "../stream/contract/host.ts";

/**
 * For crash tests: MILLRACE_CRASH_AT="<step>:<n>" or "<step>:<n>:<pipeline>" kills the process with SIGKILL when a pipeline reaches
 * that step of its task for the n-th time. Returns what to hang on `TaskHost.onStep`; undefined when nothing is asked for.
 */
export function crashPoint(asked: string | undefined, pipeline: string): ((step: TaskStep) => void) | undefined {
  const parts = /^([a-z]+):([0-9]+)(?::(.+))?$/.exec(asked ?? "");
  if (parts === null || (parts[3] !== undefined && parts[3] !== pipeline)) return undefined;
  let left = Number(parts[2]);
  return (step) => {
    if (step === parts[1] && --left === 0) process.kill(process.pid, "SIGKILL");
  };
}
