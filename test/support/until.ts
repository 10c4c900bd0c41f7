/** Below the time limit of a test, so that the message is seen. */
const limitMs = 100_000;

/** Waits for what happens elsewhere, however slow the machine is; fails with `what` if it never does. */
export async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  for (const end = performance.now() + limitMs; !(await holds()); ) {
    if (performance.now() > end) throw new Error(`did not happen: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** The same; if it never does, the condition's own text says what. */
export const untilTrue = (holds: () => boolean | Promise<boolean>): Promise<void> => until(String(holds), holds);
