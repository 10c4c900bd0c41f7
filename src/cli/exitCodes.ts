/**
 * 0: done, or closed cleanly, whoever asked for it. 1: failed. 2: wrong usage. 130 and 143: a second SIGINT or SIGTERM ended it
 * before it had closed.
 */
export const ExitCode = { done: 0, failed: 1, usage: 2, forcedBySigint: 130, forcedBySigterm: 143 } as const;
