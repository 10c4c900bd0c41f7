/**
 * What a machine's disk holds, and what a loss of power leaves of it. Two views of everything: `current` is what the
 * processes see (page cache), `durable` is what surely survives. The difference is kept as a list of changes, and a power
 * loss keeps, drops or tears each of them independently of the others: a disk owes us no order between syncs.
 */
import path from "node:path";
import type { Random } from "../../src/base/random.ts";

/** What a disk writes as one. Smaller than a page: a torn write is then torn in more places. */
const sectorBytes = 512;

export interface Write {
  readonly kind: "write";
  readonly position: number;
  readonly bytes: Buffer;
}

type Change = Write | { readonly kind: "truncate"; readonly bytes: number };

class Content {
  private room = Buffer.alloc(0);
  size = 0;

  get bytes(): Buffer {
    return this.room.subarray(0, this.size);
  }

  apply(change: Change): void {
    if (change.kind === "truncate") return this.resize(change.bytes);
    if (change.position + change.bytes.length > this.size) this.resize(change.position + change.bytes.length);
    change.bytes.copy(this.room, change.position);
  }

  private resize(size: number): void {
    if (size > this.room.length) {
      const larger = Buffer.alloc(Math.max(size, this.room.length * 2));
      this.bytes.copy(larger);
      this.room = larger;
    } else if (size < this.size) this.room.fill(0, size, this.size);
    this.size = size;
  }
}

export class FileNode {
  /** Its last name, for messages and faults. */
  path = "";
  readonly current = new Content();
  private readonly durable = new Content();
  private unsynced: Change[] = [];
  /** A sync failed: what is on the disk is another than what the page cache shows. */
  private forgot = false;
  failedSyncs = 0;

  change(change: Change): void {
    this.current.apply(change);
    this.unsynced.push(change);
  }

  sync(): void {
    for (const change of this.unsynced) this.durable.apply(change);
    this.unsynced = [];
  }

  /**
   * Of this one write, and of no other: what was changed before may still come to the disk later, or never. But not over it: the page cache
   * has only one content for a place.
   */
  syncOnly(write: Write): void {
    const at = this.unsynced.indexOf(write);
    if (at === -1) return; // another sync has it already, or failed with it
    this.durable.apply(write);
    const before = this.unsynced
      .slice(0, at)
      .flatMap((change): readonly Change[] => (change.kind === "write" ? outside(change, write) : [change]));
    this.unsynced = [...before, ...this.unsynced.slice(at + 1)];
  }

  /**
   * A sync that failed: each write reached the disk or is forgotten (Linux marks the pages clean), so that a second sync,
   * which works, proves nothing.
   */
  failSync(random: Random): void {
    this.forgot = true;
    this.failedSyncs++;
    for (const change of this.unsynced) if (change.kind === "truncate" || random.below(2) === 0) this.durable.apply(change);
    this.unsynced = [];
  }

  /**
   * The process that saw a sync fail is dead, and what the system forgot then is read from the disk again. (It may stay in the page cache
   * longer, where a next process would take it for good and sync it in vain; nobody can tell.)
   */
  evict(): void {
    if (!this.forgot) return;
    this.forgot = false;
    const { size } = this.current;
    this.current.apply({ kind: "truncate", bytes: 0 });
    this.current.apply({ kind: "write", position: 0, bytes: this.durable.bytes });
    for (const change of this.unsynced) this.current.apply(change);
    this.current.apply({ kind: "truncate", bytes: size });
  }

  /** The bits of `mask` in one byte change, wherever that byte is kept. */
  flip(position: number, mask: number): void {
    for (const { bytes } of [this.current, this.durable]) if (position < bytes.length) bytes[position] = (bytes[position] as number) ^ mask;
    for (const change of this.unsynced) {
      if (change.kind === "truncate") continue;
      const at = position - change.position;
      if (at >= 0 && at < change.bytes.length) change.bytes[at] = (change.bytes[at] as number) ^ mask;
    }
  }

  /** The file as it is after a loss of power. */
  survivor(random: Random, met: (fault: string) => void): FileNode {
    let dropped = false;
    for (const change of this.unsynced) {
      const fate = random.below(10);
      if (fate < 4) {
        met(`power loss: an unsynced ${change.kind} is dropped`);
        dropped = true;
        continue;
      }
      if (dropped) met("power loss: a later change survives an earlier one");
      if (fate < 7 || change.kind === "truncate") this.durable.apply(change);
      else {
        met("power loss: an unsynced write is torn");
        for (const piece of torn(change.position, change.bytes, random)) this.durable.apply(piece);
      }
    }
    const survivor = new FileNode();
    survivor.change({ kind: "write", position: 0, bytes: Buffer.from(this.durable.bytes) });
    survivor.sync();
    return survivor;
  }
}

/** What of one write lies before and behind another. */
function outside(write: Write, other: Write): readonly Write[] {
  const { kind, position, bytes } = write;
  if (position >= other.position + other.bytes.length || other.position >= position + bytes.length) return [write];
  const before = bytes.subarray(0, Math.max(0, other.position - position));
  const from = Math.max(0, other.position + other.bytes.length - position);
  const behind = { kind, position: position + from, bytes: bytes.subarray(from) };
  return [{ kind, position, bytes: before }, behind].filter((part) => part.bytes.length > 0);
}

/** Cut at a random byte, or each sector kept or lost on its own. */
function torn(position: number, bytes: Buffer, random: Random): Change[] {
  if (random.below(2) === 0) return [{ kind: "write", position, bytes: bytes.subarray(0, random.below(bytes.length + 1)) }];
  const pieces: Change[] = [];
  for (let at = 0; at < bytes.length; ) {
    const end = Math.min(bytes.length, at + sectorBytes - ((position + at) % sectorBytes));
    if (random.below(2) === 0) pieces.push({ kind: "write", position: position + at, bytes: bytes.subarray(at, end) });
    at = end;
  }
  return pieces;
}

export class DirectoryNode {
  readonly current = new Map<string, FileNode | DirectoryNode>();
  readonly durable = new Map<string, FileNode | DirectoryNode>();
}

/** One change of names: a rename has two entries, which survive together or not at all. */
type NameChange = readonly {
  readonly directory: DirectoryNode;
  readonly name: string;
  readonly node: FileNode | DirectoryNode | undefined;
}[];

export class SimulatedDisk {
  readonly root: DirectoryNode;
  private unsynced: NameChange[] = [];

  constructor(root = new DirectoryNode()) {
    this.root = root;
  }

  find(file: string): FileNode | DirectoryNode | undefined {
    let at: FileNode | DirectoryNode | undefined = this.root;
    for (const name of pathParts(file)) {
      if (!(at instanceof DirectoryNode)) return undefined;
      at = at.current.get(name);
    }
    return at;
  }

  changeNames(change: NameChange): void {
    for (const entry of change) setName(entry.directory.current, entry.name, entry.node);
    this.unsynced.push(change);
  }

  syncNames(directory: DirectoryNode): void {
    this.unsynced = this.unsynced.filter((change) => {
      if (!change.some((entry) => entry.directory === directory)) return true;
      for (const entry of change) setName(entry.directory.durable, entry.name, entry.node);
      return false;
    });
  }

  /** The process is dead: see FileNode. */
  evict(): void {
    evictIn(this.root);
  }

  /** Of all files that have a name; what a removed one held is free at once. */
  usedBytes(): number {
    return usedBytesIn(this.root, new Set());
  }

  /** What is on the disk when the power comes back. This disk is not used after it. */
  survivor(random: Random, met: (fault: string) => void): SimulatedDisk {
    for (const change of this.unsynced) {
      if (random.below(2) === 0) for (const entry of change) setName(entry.directory.durable, entry.name, entry.node);
      else met("power loss: an unsynced name change is dropped");
    }
    return new SimulatedDisk(survivingDirectory(this.root, random, met));
  }
}

function evictIn(directory: DirectoryNode): void {
  for (const node of directory.current.values()) {
    if (node instanceof DirectoryNode) evictIn(node);
    else node.evict();
  }
}

function usedBytesIn(directory: DirectoryNode, seen: Set<FileNode>): number {
  let bytes = 0;
  for (const node of directory.current.values()) {
    if (node instanceof DirectoryNode) bytes += usedBytesIn(node, seen);
    else if (!seen.has(node)) {
      seen.add(node);
      bytes += node.current.size;
    }
  }
  return bytes;
}

function setName(names: Map<string, FileNode | DirectoryNode>, name: string, node: FileNode | DirectoryNode | undefined): void {
  if (node === undefined) names.delete(name);
  else names.set(name, node);
}

function survivingDirectory(
  from: DirectoryNode,
  random: Random,
  met: (fault: string) => void,
  seen = new Map<FileNode, FileNode>(),
): DirectoryNode {
  const survivor = new DirectoryNode();
  for (const [name, node] of from.durable) {
    let kept: FileNode | DirectoryNode | undefined;
    if (node instanceof DirectoryNode) kept = survivingDirectory(node, random, met, seen);
    else {
      kept = seen.get(node) ?? node.survivor(random, met); // one file may have two names: half a rename
      seen.set(node, kept);
    }
    survivor.current.set(name, kept);
    survivor.durable.set(name, kept);
  }
  return survivor;
}

/** The same few paths come again and again: splitting them each time was a tenth of a simulation's time. */
const splitPaths = new Map<string, readonly string[]>();
const splitPathsMax = 10_000;

export function pathParts(file: string): readonly string[] {
  const known = splitPaths.get(file);
  if (known !== undefined) return known;
  const split = path
    .resolve(file)
    .split(path.sep)
    .filter((part) => part !== "");
  if (splitPaths.size < splitPathsMax) splitPaths.set(file, split);
  return split;
}
