/**
 * What a journal must still know, beside the journal itself. A copy is (queue, offset); a message has one or more copies. The
 * model knows for each what was confirmed, acknowledged and dropped, and of these what surely reached the disk.
 */
import type {
  Destination,
  JournalTenants,
  JournalVisitor,
  KeptCopy,
  KeptRun,
  OffsetRange,
  RememberedId,
  ReplayedMessage,
  StoppedQueue,
} from "../../../src/log/contract/queueJournal.ts";

export interface ModelMessage {
  readonly id: number;
  readonly destinations: readonly Destination[];
  readonly dedupeId: string | undefined;
  readonly persistent: boolean;
  readonly content: Buffer;
  /** Where it was written first, or found by a start. */
  position: number;
  /** Its receipt was settled, or a start has shown it. */
  confirmed: boolean;
  /** Copies that are not acknowledged and not dropped, as far as the broker knows, and where they are; undefined: in a run. */
  readonly live: Map<string, number | undefined>;
  /** Copies that are gone, surely also after a crash. */
  readonly goneForSure: Set<string>;
  /** Queues that remember its id, and where that is. */
  readonly remembered: Map<number, number>;
}

export const copyKey = ({ queue, offset }: Destination): string => `${queue}/${offset}`;

interface Found {
  readonly position: number;
  readonly contentBytes: number;
  readonly timestamp: number;
  readonly dedupeId: string | undefined;
}

const nobody: JournalTenants = {
  holds: () => false,
  remembers: () => false,
  moved: () => false,
  idMoved: () => false,
  stretch: () => undefined,
  runMoved: () => [],
};

/** Applies a replay as a broker would. */
export class Replayed implements JournalVisitor {
  readonly messages: ReplayedMessage[] = [];
  /** What was in the runs at the end. */
  readonly copies: (Destination & KeptCopy)[] = [];
  readonly runs: KeptRun[] = [];
  readonly live = new Map<string, Found>();
  readonly ids = new Map<string, number>();
  readonly nextOffset = new Map<number, number>();

  constructor(private readonly tenants: JournalTenants = nobody) {}

  kept(run: KeptRun): boolean {
    this.runs.push(run);
    this.passed({ queue: run.queue, offset: run.lastOffset });
    return true;
  }

  /** After the replay. @param most so many at a time */
  async loadRuns(most: number): Promise<void> {
    for (const run of this.runs) {
      const { queue, lastOffset: to } = run;
      for (let from = run.firstOffset; ; ) {
        const copies = await run.load({ from, to }, most);
        for (const copy of copies) {
          this.copies.push({ queue, ...copy });
          this.live.set(copyKey({ queue, ...copy }), { ...copy, timestamp: 0, dedupeId: undefined });
        }
        if (copies.length < most) break;
        from = (copies.at(-1) as KeptCopy).offset + 1;
      }
    }
  }

  remembered({ queue, dedupeId, position }: RememberedId): void {
    this.ids.set(`${queue}/${dedupeId}`, position);
  }

  stopped({ queue, nextOffset, copies, ids }: StoppedQueue): void {
    for (const [n, offset] of copies.offsets.entries()) {
      const [position, contentBytes] = [copies.positions[n] as number, copies.bytes[n] as number];
      if (this.passed({ queue, offset }))
        this.live.set(copyKey({ queue, offset }), { position, contentBytes, timestamp: 0, dedupeId: undefined });
    }
    for (const { dedupeId, position } of ids) this.ids.set(`${queue}/${dedupeId}`, position);
    this.passed({ queue, offset: nextOffset - 1 });
  }

  message(message: ReplayedMessage): void {
    this.messages.push(message);
    for (const destination of message.destinations) {
      if (!this.passed(destination)) continue;
      this.live.set(copyKey(destination), message);
      if (message.dedupeId !== undefined) this.ids.set(`${destination.queue}/${message.dedupeId}`, message.position);
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

  holds = (queue: number, offset: number, position: number): boolean => this.tenants.holds(queue, offset, position);
  remembers = (queue: number, dedupeId: string, position: number): boolean => this.tenants.remembers(queue, dedupeId, position);
  moved = (queue: number, offset: number, from: number, to: number): boolean => this.tenants.moved(queue, offset, from, to);
  idMoved = (queue: number, id: string, from: number, to: number): boolean => this.tenants.idMoved(queue, id, from, to);

  stretch = (run: KeptRun): void => this.tenants.stretch(run);
  runMoved = (run: KeptRun, replaced: readonly KeptRun[]): readonly OffsetRange[] => this.tenants.runMoved(run, replaced);

  /** False: it is known already. */
  private passed({ queue, offset }: Destination): boolean {
    const next = this.nextOffset.get(queue) ?? 0;
    this.nextOffset.set(queue, Math.max(next, offset + 1));
    return offset >= next;
  }
}

/** @returns what the replay got wrong, if anything; and what the broker goes on with */
export function judge(before: readonly ModelMessage[], replayed: Replayed): string | ModelMessage[] {
  const byPosition = new Map(before.map((one) => [one.position, one]));
  // an offset is given again after a restart, once nothing in the journal tells of it any more: the younger one counts
  const byAge = [...before].sort((a, b) => a.id - b.id);
  const byCopy = new Map(byAge.flatMap((one) => one.destinations.map((destination) => [copyKey(destination), one] as const)));
  // what a failed write left behind has another place
  const matchOf = (found: ReplayedMessage): ModelMessage | undefined =>
    byPosition.get(found.position) ?? byCopy.get(copyKey(found.destinations[0] as Destination));
  for (const found of replayed.messages) {
    const match = matchOf(found);
    if (match === undefined) return `a message at ${found.position} that nobody published there`;
    if (!match.persistent) return `the transient message ${match.id} came back`;
    const [wanted, got] = [match, found].map(({ destinations, dedupeId }) => JSON.stringify([destinations, dedupeId]));
    if (wanted !== got) return `message ${match.id} went to ${wanted} and came back with ${got}`;
    if (found.contentBytes !== match.content.length) return `message ${match.id} came back with another size`;
  }
  for (const copy of replayed.copies) {
    const match = byCopy.get(copyKey(copy));
    if (match === undefined) return `copy ${copyKey(copy)}, that nobody published, was moved`;
    if (!match.persistent) return `the transient message ${match.id} came back from a segment`;
    if (copy.contentBytes !== match.content.length) return `message ${match.id} came back from a segment with another size`;
  }
  const shown = new Set<ModelMessage>();
  for (const found of replayed.messages) {
    const match = matchOf(found) as ModelMessage;
    match.position = found.position;
    shown.add(match);
  }
  for (const copy of replayed.copies) shown.add(byCopy.get(copyKey(copy)) as ModelMessage);
  for (const message of before) {
    for (const key of message.destinations.map(copyKey)) {
      if (byCopy.get(key) !== message) continue;
      const present = replayed.live.has(key);
      if (message.confirmed && message.persistent && message.live.has(key) && !present) {
        return `copy ${key} of the confirmed message ${message.id} is lost`;
      }
      if (message.goneForSure.has(key) && present) return `copy ${key} of message ${message.id}, acknowledged for sure, came back`;
    }
    for (const queue of message.remembered.keys()) {
      if (replayed.ids.has(`${queue}/${message.dedupeId}`)) shown.add(message);
      else if (message.confirmed && message.persistent)
        return `the id of the confirmed message ${message.id} is forgotten by queue ${queue}`;
    }
  }
  return [...shown].map((message) => goneOnWith(message, byCopy, replayed));
}

function goneOnWith(message: ModelMessage, byCopy: ReadonlyMap<string, ModelMessage>, replayed: Replayed): ModelMessage {
  const keys = message.destinations.map(copyKey).filter((key) => byCopy.get(key) === message);
  const live = new Map(keys.flatMap((key) => (replayed.live.has(key) ? [[key, (replayed.live.get(key) as Found).position] as const] : [])));
  const remembered = new Map<number, number>();
  for (const queue of message.remembered.keys()) {
    const position = replayed.ids.get(`${queue}/${message.dedupeId}`);
    if (position !== undefined) remembered.set(queue, position);
  }
  return { ...message, confirmed: true, live, goneForSure: new Set(keys.filter((key) => !live.has(key))), remembered };
}
