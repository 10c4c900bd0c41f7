/** Is it the operating system's error of this name (ENOENT, ENOSPC, ...)? */
export const isCode = (error: unknown, code: string): boolean => (error as NodeJS.ErrnoException).code === code;

/** For `catch`, where a missing file is no failure. */
export function undefinedIfMissing(error: unknown): undefined {
  if (!isCode(error, "ENOENT")) throw error;
}
