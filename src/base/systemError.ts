/** Is it the operating system's error of this name (ENOENT, ENOSPC, ...)? */
export const isCode = (error: unknown, code: string): boolean => (error as NodeJS.ErrnoException).code === code;

/** The file system is full, or the user's part of it. */
export const saysNoRoom = (error: unknown): boolean => isCode(error, "ENOSPC") || isCode(error, "EDQUOT");

/** For `catch`, where a missing file is no failure. */
export function undefinedIfMissing(error: unknown): undefined {
  if (!isCode(error, "ENOENT")) throw error;
}
