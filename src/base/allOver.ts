/** Rejects with the first failure, but not while another one is still at work: whoever catches it may close the files. */
export async function allOver(works: readonly Promise<void>[]): Promise<void> {
  for (const result of await Promise.allSettled(works)) if (result.status === "rejected") throw result.reason;
}
