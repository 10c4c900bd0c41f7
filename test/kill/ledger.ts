import { type Found, fanoutQueues, plainQueue, type Said } from "./messages.ts";

/** What one queue may, must and must not hold. */
class QueueAccount {
  /** Confirmed, or seen after a start: what was shown once must stay. */
  private readonly owed = new Set<number>();
  private readonly maybeGone = new Set<number>();
  private readonly gone = new Set<number>();

  constructor(private readonly name: string) {}

  confirmed(numbers: readonly number[]): void {
    for (const number of numbers) if (!this.gone.has(number)) this.owed.add(number);
  }

  acknowledging(numbers: readonly number[]): void {
    for (const number of numbers) this.maybeGone.add(number);
  }

  acknowledged(numbers: readonly number[]): void {
    for (const number of numbers) {
      this.gone.add(number);
      this.owed.delete(number);
    }
  }

  /** @returns what is wrong with what a start found */
  problems(found: readonly number[]): string[] {
    const there = new Set(found);
    const problems: string[] = [];
    const say = (what: string, numbers: Iterable<number>): void => {
      const some = [...numbers];
      if (some.length > 0) problems.push(`${this.name}: ${some.length} ${what}: ${some.slice(0, 10).join(", ")}`);
    };
    say(
      "confirmed, not acknowledged, and lost",
      [...this.owed].filter((number) => !there.has(number) && !this.maybeGone.has(number)),
    );
    say(
      "acknowledged, and there again",
      found.filter((number) => this.gone.has(number)),
    );
    say(
      "twice or out of order",
      found.filter((number, at) => at > 0 && number <= (found[at - 1] as number)),
    );
    say(
      "transient, and there after a kill",
      found.filter((number) => number >= 1e9),
    );
    for (const number of this.maybeGone) if (!there.has(number)) this.acknowledged([number]);
    for (const number of there) this.owed.add(number);
    this.maybeGone.clear();
    return problems;
  }
}

/** What was promised by processes that were killed, beside what the next one finds. */
export class Ledger {
  /** Fanout messages from here on are not confirmed: the next process publishes them again. */
  firstUnconfirmed = 0;
  recognised = 0;
  appended = 0;
  /** What must have happened at least once. */
  readonly met = { "a segment was let go": 0, "a journal file was used again": 0, "messages were moved out of the journal": 0 };
  private readonly queues = new Map([...fanoutQueues, plainQueue].map((name) => [name, new QueueAccount(name)]));
  private readonly ends = new Map<string, number>();
  private readonly starts = new Map<string, number>();

  /** @returns what is wrong */
  hear(said: Said): string[] {
    if (said.kind === "wrong") return [said.what];
    if (said.kind === "refused") return [`${said.code}: ${said.message}`];
    if (said.kind === "found") return this.found(said);
    if (said.kind === "recognised") this.recognised = Math.max(this.recognised, said.count);
    else if (said.kind === "appended") {
      this.appended++;
      this.ends.set(said.partition, Math.max(said.end, this.ends.get(said.partition) ?? 0));
    } else {
      this.queues.get(said.queue)?.[said.kind](said.numbers);
      const isFanout = said.kind === "confirmed" && said.queue !== plainQueue;
      if (isFanout) this.firstUnconfirmed = Math.max(this.firstUnconfirmed, ...said.numbers.map((number) => number + 1));
    }
    return [];
  }

  private found({ partitions, queues, journal }: Found): string[] {
    const problems: string[] = [];
    for (const [name, { start, end }] of Object.entries(partitions)) {
      if (end < (this.ends.get(name) ?? 0))
        problems.push(`${name} ends at ${end}, and appends up to ${this.ends.get(name)} were confirmed`);
      if (start < (this.starts.get(name) ?? 0)) problems.push(`${name} starts at ${start}, and did at ${this.starts.get(name)} before`);
      if (start > 0) this.met["a segment was let go"]++;
      this.ends.set(name, end);
      this.starts.set(name, start);
    }
    if (journal.lastFile > 8) this.met["a journal file was used again"]++;
    if (journal.segments > 0) this.met["messages were moved out of the journal"]++;
    for (const [name, account] of this.queues) problems.push(...account.problems(queues[name] ?? []));
    return problems;
  }
}
