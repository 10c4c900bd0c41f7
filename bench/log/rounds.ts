/** Two things measured in turns, so that both see the same machine: what counts is the ratio of each pair of rounds, and of those the median. */

export interface Rounds {
  /** Of a round of the thing, median. */
  readonly ms: number;
  /** What it took of the processors, of all threads and the system: says more than `ms` where others use the machine. */
  readonly cpuMs: number;
  /** Of a round of its peer. */
  readonly peerMs: number;
  /** Peer's time by the thing's, median over the pairs: 1 is as fast as the peer. */
  readonly ratio: number;
}

export async function inTurns(rounds: number, thing: () => Promise<number>, peer: () => Promise<number>): Promise<Rounds> {
  const pairs: { ms: number; cpuMs: number; peerMs: number }[] = [];
  for (let round = 0; round <= rounds; round++) {
    const first = round % 2 === 0;
    const before = first ? await peer() : undefined;
    const cpuBefore = process.cpuUsage();
    const ms = await thing();
    const { user, system } = process.cpuUsage(cpuBefore);
    const peerMs = before ?? (await peer());
    if (round > 0) pairs.push({ ms, cpuMs: (user + system) / 1000, peerMs }); // the first one warms up
  }
  return {
    ms: median(pairs.map((pair) => pair.ms)),
    cpuMs: median(pairs.map((pair) => pair.cpuMs)),
    peerMs: median(pairs.map((pair) => pair.peerMs)),
    ratio: median(pairs.map((pair) => pair.peerMs / pair.ms)),
  };
}

/** The median of rounds after one that warms up. */
export async function medianOf(rounds: number, round: () => Promise<number>): Promise<number> {
  await round();
  const times: number[] = [];
  for (let n = 0; n < rounds; n++) times.push(await round());
  return median(times);
}

/** How long it took, in ms. */
export async function timed(work: () => Promise<unknown>): Promise<number> {
  const since = performance.now();
  await work();
  return performance.now() - since;
}

export const median = (values: readonly number[]): number => percentile(values, 50);

export function percentile(values: readonly number[], percent: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor((sorted.length * percent) / 100))] as number;
}
