import type { Logger } from "./logger.ts";

interface Closable {
  close(): Promise<void>;
}

/** Closes all of them, also behind one that fails to; then rejects with the first failure. */
export async function closeAll(...all: readonly (Closable | undefined)[]): Promise<void> {
  const failures: unknown[] = [];
  for (const one of all) await one?.close().catch((error: unknown) => void failures.push(error));
  if (failures.length > 0) throw failures[0];
}

/** What comes next with something that was just opened: if it fails, that is not left open. */
export async function closedIfFails<T>(opened: Closable, next: () => Promise<T>): Promise<T> {
  try {
    return await next();
  } catch (error) {
    await opened.close().catch(() => undefined);
    throw error;
  }
}

/** Of files of which all that counts is on the disk, or given up: a failure to close them loses nothing, and is only said. */
export async function closeUnconcerned(opened: Closable | undefined, logger: Logger, what: string): Promise<void> {
  await opened?.close().catch((error: unknown) => {
    logger.warn("could not close what is not needed any more", { of: what, error });
  });
}
