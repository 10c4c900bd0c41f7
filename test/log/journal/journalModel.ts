/**
 * What a journal must still know, beside the journal itself. A copy is (queue, offset); a message has one or more copies. The
 * model knows for each what was confirmed, acknowledged and dropped, and of these what surely reached the disk.
 */
import type { Destination, JournalVisitor, ReplayedMessage } from "../../../src/log/contract/queueJournal.ts";

export interface ModelMessage {
  readonly id: number;
  readonly destinations: readonly Destination[];
  readonly dedupeId: string | undefined;
  readonly persistent: boolean;
  readonly content: Buffer;
  position: number;
  /** Its receipt was settled, or a start has shown it. */
  confirmed: boolean;
  /** Copies that are not acknowledged and not dropped, as far as the broker knows. */
  readonly live: Set<string>;
  /** Copies that are gone, surely also after a crash. */
  readonly goneForSure: Set<string>;
  /** Dedupe ids are remembered: one more pin a destination. */
  remembered: boolean;
}

export const copyKey = ({ queue, offset }: Destination): string => `${queue}/${offset}`;

/** Applies a replay as a broker would. */
export class Replayed implements JournalVisitor {
  readonly messages: ReplayedMessage[] = [];
  readonly live = new Map<string, ReplayedMessage>();
  readonly nextOffset = new Map<number, number>();

  message(message: ReplayedMessage): void {
    this.messages.push(message);
    for (const destination of message.destinations) {
      this.live.set(copyKey(destination), message);
      this.passed(destination);
    }
  }

  acknowledged(queue: number, offset: number): void {
    this.live.delete(copyKey({ queue, offset }));
    this.passed({ queue, offset });
  }

  dropped(queue: number, belowOffset: number): void {
    for (const key of this.live.keys()) {
      const [ofQueue, offset] = key.split("/").map(Number) as [number, number];
      if (ofQueue === queue && offset < belowOffset) this.live.delete(key);
    }
  }

  private passed({ queue, offset }: Destination): void {
    this.nextOffset.set(queue, Math.max(this.nextOffset.get(queue) ?? 0, offset + 1));
  }
}

/** @returns what the replay got wrong, if anything; and what the broker goes on with */
export function judge(before: readonly ModelMessage[], replayed: Replayed): string | ModelMessage[] {
  const matches = new Map<ReplayedMessage, ModelMessage>();
  const unmatched = new Set(before);
  const byPosition = new Map(before.map((one) => [one.position, one]));
  for (const found of replayed.messages) {
    const match = byPosition.get(found.position);
    if (match === undefined) return `a message at ${found.position} that nobody published there`;
    if (!match.persistent) return `the transient message ${match.id} came back`;
    const [wanted, got] = [match, found].map(({ destinations, dedupeId }) => JSON.stringify([destinations, dedupeId]));
    if (wanted !== got) return `message ${match.id} went to ${wanted} and came back with ${got}`;
    if (found.contentBytes !== match.content.length) return `message ${match.id} came back with another size`;
    unmatched.delete(match);
    matches.set(found, match);
  }
  for (const lost of unmatched) {
    if (lost.confirmed && lost.persistent && (lost.live.size > 0 || lost.remembered)) return `the confirmed message ${lost.id} is lost`;
  }
  for (const [found, match] of matches) {
    for (const key of match.destinations.map(copyKey)) {
      const present = replayed.live.get(key) === found;
      if (match.live.has(key) && !present && match.confirmed) return `copy ${key} of the confirmed message ${match.id} is lost`;
      if (match.goneForSure.has(key) && present) return `copy ${key} of message ${match.id}, acknowledged for sure, came back`;
    }
  }
  return [...matches].map(([found, match]) => {
    const keys = match.destinations.map(copyKey);
    const live = new Set(keys.filter((key) => replayed.live.get(key) === found));
    return { ...match, confirmed: true, live, goneForSure: new Set(keys.filter((key) => !live.has(key))) };
  });
}
