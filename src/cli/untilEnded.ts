import type { Node } from "../server/node.ts";
import { ExitCode } from "./exitCodes.ts";
import { stopOnSignals } from "./signals.ts";
import { sayError } from "./terminal.ts";

/** Runs a node until a signal or `millrace stop`, and gives the exit code. */
export async function untilEnded(node: Node): Promise<number> {
  const forget = stopOnSignals(() => void node.stop().catch(() => undefined)); // its failure is that of `ended`
  try {
    await node.ended;
    return ExitCode.done;
  } catch (error) {
    sayError(error);
    return ExitCode.failed;
  } finally {
    forget();
  }
}
