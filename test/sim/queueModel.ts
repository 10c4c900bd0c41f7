/**
 * What the queues must hold. A message has a copy in each queue that it went to; each copy says in its content which message it is of, so
 * whatever is delivered is known for what it is, or for what nobody published.
 */
import type { Delivery } from "../../src/broker/contract.ts";
import type { Fate } from "./partitionModel.ts";
import { demand } from "./violation.ts";

export interface Copy {
  /** Of one publish; one that is published again has another. */
  readonly message: number;
  /** What it is deduplicated by. */
  readonly id: number | undefined;
  readonly content: Buffer;
  readonly persistent: boolean;
  /** As of an append: see PartitionModel. */
  fate: Fate;
  /** It went: in memory, so that it may come back after a crash until a sync; by a purge, until that is over; or surely. */
  taken: "no" | "inMemory" | "inPurge" | "surely";
  /** A consumer has it. */
  held: boolean;
  everDelivered: boolean;
  offset: number | undefined;
}

interface RememberedId {
  readonly id: number;
  /** Nobody knows whether the queue remembers it. */
  certain: boolean;
}

/** Of older ones nobody asks any more. */
const idsKept = 100;

const contentPattern = /^m(\d+) /;

export function contentOf(message: number, bytes: number): Buffer {
  const mark = `m${message} `;
  return Buffer.alloc(Math.max(mark.length, bytes), mark);
}

export class QueueModel {
  existence: "there" | "unknown" | "gone" = "there";
  /** In the order in which they were published. */
  copies: Copy[] = [];
  /** The message-ids that came last, the last one last. */
  ids: RememberedId[] = [];
  /** What is next in line is not known while somebody fetches one by itself. */
  fetching = 0;
  /** Settled for good, and only looked at again if what says so was damaged. */
  private readonly past = new Map<number, Copy>();

  constructor(
    readonly name: string,
    /** So many message-ids are remembered for sure. */
    readonly idsMax: number | undefined,
  ) {}

  empty(): void {
    this.copies = [];
    this.ids = [];
    this.fetching = 0;
    this.past.clear();
  }

  /** Undefined: the queue has it already. */
  published(message: number, id: number | undefined, content: Buffer, persistent: boolean): Copy | undefined {
    if (id !== undefined && this.idsMax !== undefined) {
      if (this.remembers(id) === "yes") return undefined;
      this.ids = [...this.ids.filter((one) => one.id !== id), { id, certain: true }].slice(-idsKept);
    }
    const copy: Copy = {
      message,
      id,
      content,
      persistent,
      fate: "open",
      taken: "no",
      held: false,
      everDelivered: false,
      offset: undefined,
    };
    this.copies.push(copy);
    return copy;
  }

  remembers(id: number): "yes" | "no" | "unknown" {
    const place = this.ids.findIndex((one) => one.id === id);
    if (place < 0) return "no";
    const isLate = this.ids.length - place > (this.idsMax ?? 0);
    return isLate || this.ids[place]?.certain !== true ? "unknown" : "yes";
  }

  /** The last one of this id. */
  copyOf(id: number): Copy | undefined {
    return this.copies.findLast((copy) => copy.id === id);
  }

  /** Checks what a running queue hands out. */
  delivered(delivery: Delivery, inOrder: boolean): Copy {
    const copy = this.recognised(delivery);
    demand(copy.taken === "no", () => `${this.nameOf(copy)} was settled, and is delivered again`);
    demand(!copy.held, () => `${this.nameOf(copy)} is delivered while a consumer has it`);
    demand(!copy.everDelivered || delivery.redelivered, () => `${this.nameOf(copy)} is delivered again without being marked so`);
    for (const other of inOrder && this.fetching === 0 ? this.copies : []) {
      if (other === copy) break;
      demand(
        other.taken !== "no" || other.held || other.fate === "refused" || other.fate === "gone",
        () => `${this.nameOf(copy)} is delivered before ${this.nameOf(other)}`,
      );
    }
    copy.held = true;
    copy.everDelivered = true;
    if (this.idsMax !== undefined && copy.id !== undefined) copy.fate = "kept"; // delivered only when it is on the disk
    return copy;
  }

  /**
   * Checks all that a started queue holds, in its order, against all that was promised, and goes on from there.
   * @param damage a bit is flipped in the journal now, or it was, and the log said so.
   * @returns is something missing that should be there?
   */
  started(found: readonly Delivery[], clean: boolean, damage: "none" | "now" | "was"): boolean {
    const damaged = damage !== "none";
    let missing = false;
    for (const copy of this.copies) Object.assign(copy, { held: false, offset: undefined });
    const there = new Set<Copy>();
    let last = -1;
    if (damaged) this.remember(found);
    for (const delivery of found) {
      const copy = this.recognised(delivery);
      demand(!there.has(copy), () => `${this.nameOf(copy)} is there twice`);
      demand(copy.persistent, () => `${this.nameOf(copy)} is transient, and outlived a restart`);
      demand(copy.taken !== "surely" || damaged, () => `${this.nameOf(copy)} was surely settled, and is back`);
      demand(copy.fate !== "refused" && (copy.fate !== "gone" || damaged), () => `${this.nameOf(copy)} is back`);
      demand(delivery.redelivered || (clean && !copy.everDelivered), () => `${this.nameOf(copy)} is not marked as redelivered`);
      const place = this.copies.indexOf(copy);
      demand(place > last, () => `${this.nameOf(copy)} comes out of order`);
      last = place;
      there.add(copy);
    }
    for (const copy of this.copies) {
      if (there.has(copy) || copy.taken !== "no" || copy.fate !== "kept" || !copy.persistent) continue;
      demand(damaged, () => `${this.nameOf(copy)} is lost`);
      missing = true;
    }
    if (damage === "now") return missing; // once the bit is as it was, all must be there again
    this.forgetLostIds(there);
    if (damaged) this.ids = this.ids.map((id) => ({ ...id, certain: false }));
    const ids = new Set(this.ids.map(({ id }) => id));
    const kept = this.copies.filter(
      (copy) => there.has(copy) || (copy.id !== undefined && ids.has(copy.id)) || copy.fate === "refused" || copy.fate === "gone",
    );
    for (const copy of kept) {
      if (there.has(copy)) Object.assign(copy, { fate: "kept", taken: "no", everDelivered: true });
      else if (copy.fate !== "refused") Object.assign(copy, copy.taken === "no" ? { fate: "gone" } : { taken: "surely" });
    }
    for (const copy of this.copies)
      if (!kept.includes(copy) && copy.taken !== "no") this.past.set(copy.message, { ...copy, taken: "surely" });
    this.copies = kept;
    return missing;
  }

  /** What settled so far is on the disk now. */
  synced(copies: Iterable<Copy>): void {
    for (const copy of copies) if (copy.taken === "inMemory") copy.taken = "surely";
  }

  inMemoryOnly(): Copy[] {
    return this.copies.filter(({ taken }) => taken === "inMemory");
  }

  /** Ready, as far as anybody can know. */
  ready(): Copy[] {
    return this.copies.filter(({ taken, held, fate }) => taken === "no" && !held && fate !== "refused" && fate !== "gone");
  }

  nameOf({ message, fate, taken, offset }: Copy): string {
    return `message ${message} (${fate}, taken: ${taken}, offset ${offset}) in queue ${this.name}`;
  }

  private forgetLostIds(there: ReadonlySet<Copy>): void {
    this.ids = this.ids.flatMap((id): RememberedId[] => {
      const copy = this.copyOf(id.id);
      if (!id.certain) return [id]; // damage may have taken its message alone: no later start tells
      if (copy === undefined || copy.fate === "kept" || there.has(copy)) return [id];
      if (copy.taken !== "no") return [{ ...id, certain: false }];
      return [];
    });
  }

  /** What was settled long ago and is found again. */
  private remember(found: readonly Delivery[]): void {
    for (const { content } of found) {
      const message = Number(contentPattern.exec(content.subarray(0, 16).toString("latin1"))?.[1]);
      const copy = this.past.get(message);
      if (copy === undefined) continue;
      this.past.delete(message);
      this.copies = [...this.copies, { ...copy, offset: undefined }].sort((a, b) => a.message - b.message);
    }
  }

  private recognised({ content, offset }: Delivery): Copy {
    const match = contentPattern.exec(content.subarray(0, 16).toString("latin1"));
    const copy = this.copies.find(({ message }) => message === Number(match?.[1]));
    demand(copy !== undefined, () => `queue ${this.name} delivers at offset ${offset} what nobody published to it: ${match?.[0]}`);
    demand(copy.offset === undefined || copy.offset === offset, () => `${this.nameOf(copy)} comes again at offset ${offset}`);
    demand(copy.content.equals(content), () => `${this.nameOf(copy)} has other bytes`);
    copy.offset = offset;
    return copy;
  }
}
