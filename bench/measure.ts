/** How a part of the line is measured and told: once to warm up, then the median of several rounds. */

export interface Measured {
  readonly events: number;
  readonly ms: number;
  /** Of this process, all its threads. */
  readonly cpuMs: number;
}

export interface BenchPart {
  readonly name: string;
  run(print: Printer): Promise<void>;
}

const ROUNDS = 5;

export async function measure(events: number, round: () => void | Promise<void>, rounds = ROUNDS): Promise<Measured> {
  await round();
  const results: Measured[] = [];
  for (let n = 0; n < rounds; n++) {
    const cpuBefore = process.cpuUsage();
    const since = performance.now();
    await round();
    const ms = performance.now() - since;
    const cpu = process.cpuUsage(cpuBefore);
    results.push({ events, ms, cpuMs: (cpu.user + cpu.system) / 1000 });
  }
  results.sort((a, b) => a.ms - b.ms);
  return results[Math.floor(rounds / 2)] as Measured;
}

const NAME_WIDTH = 46;

export class Printer {
  private headPrinted = false;

  /** `against`: what the ratio of the rates is to, with its name. */
  line(name: string, measured: Measured, against?: { readonly name: string; readonly measured: Measured }): void {
    this.head();
    const rate = ratePerSecond(measured);
    const cpu = (measured.cpuMs * 1000) / measured.events;
    const ratio = against === undefined ? "" : `   ${(rate / ratePerSecond(against.measured)).toFixed(2)} of ${against.name}`;
    const rateText = Math.round(rate).toLocaleString("en-US").padStart(14);
    console.log(`${name.padEnd(NAME_WIDTH)}${rateText}${cpu.toFixed(2).padStart(15)}${ratio}`);
  }

  private head(): void {
    if (this.headPrinted) return;
    this.headPrinted = true;
    console.log(`${"".padEnd(NAME_WIDTH)}${"events/s".padStart(14)}${"µs CPU/event".padStart(15)}   ratio`);
  }
}

const ratePerSecond = ({ events, ms }: Measured): number => (events / ms) * 1000;
