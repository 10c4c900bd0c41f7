/**
 * A file system in memory that loses power, loses its process and refuses on command; the same seed gives the same run.
 *
 *   let fs = new SimulatedFileSystem({ seed: 1 });
 *   ... run something on fs ...
 *   fs = fs.crash();  // or fs.kill(): the page cache stays
 *   ... start it again on the new fs: what still runs on the old one gets errors and can touch nothing ...
 */
import path from "node:path";
import type { File, FileSystem } from "../../src/base/fileSystem.ts";
import { Random } from "../../src/base/random.ts";
import { DirectoryNode, FileNode, pathParts, SimulatedDisk } from "./simulatedDisk.ts";
import { ArmedFaults, type Fault, type Operation, systemError } from "./simulatedFaults.ts";
import { type HandleHost, SimulatedFile } from "./simulatedFile.ts";

/** A flipped byte is flipped back only where these many on both sides are as they were. */
const AROUND_BYTES = 16;

export type SyncKind = "file" | "directory";

export interface SimulatedFileSystemOptions {
  readonly seed: number;
  /**
   * True: this sync resolves but does nothing, as if its line were not in the code. `lastNameChange` tells several syncs of a
   * directory apart: "create a", "rename a b" or "remove a", without folders. Survives `crash` and `kill`.
   */
  readonly ignoreSync?: (path: string, kind: SyncKind, lastNameChange: string) => boolean;
  /** Each operation takes 0 to this many turns of the loop (0: microtasks only). Default 2. */
  readonly turnsMax?: number;
  /** What a failed sync did not write stays readable also after `kill`, and a sync does not write it. Else `kill` shows what the disk has. */
  readonly forgottenStaysCached?: boolean;
  /** Told of each fault that was met, by a name that is always the same for the same kind. Survives `crash` and `kill`. */
  readonly met?: (fault: string) => void;
}

export class SimulatedFileSystem implements FileSystem {
  readonly syncs = { file: 0, directory: 0 };
  private readonly random: Random;
  /** As many files as were open at the same time. */
  openMost = 0;
  private readonly opened = new Set<SimulatedFile>();
  private readonly writing = new Set<{ readonly node: FileNode; readonly position: number; readonly bytes: Buffer }>();
  private ended: string | undefined;
  private lastNameChange = "";
  private diskBytes: number | undefined;
  private nextOne: SimulatedFileSystem | undefined;
  private readonly met = (fault: string): void => this.options.met?.(fault);
  private readonly faults = new ArmedFaults(this.met);

  constructor(
    private readonly options: SimulatedFileSystemOptions,
    private readonly disk = new SimulatedDisk(),
  ) {
    this.random = new Random(options.seed);
  }

  /** Power loss. This file system is dead from now on; the returned one holds what survived. */
  crash(): SimulatedFileSystem {
    for (const { node, position, bytes } of this.writing) node.change({ kind: "write", position, bytes: Buffer.from(bytes) });
    this.ended = "SIMULATED_POWER_LOSS";
    return this.next(this.disk.survivor(this.random, this.met));
  }

  /** kill -9: every finished write stays, one under way may be cut short. What is not synced can still be lost by a later `crash`. */
  kill(): SimulatedFileSystem {
    for (const { node, position, bytes } of this.writing) {
      const written = this.random.below(bytes.length + 1);
      if (written < bytes.length) this.met("kill: a write under way is cut short");
      node.change({ kind: "write", position, bytes: Buffer.from(bytes.subarray(0, written)) });
    }
    this.ended = "SIMULATED_KILL";
    if (this.options.forgottenStaysCached !== true) this.disk.evict();
    return this.next(this.disk);
  }

  private next(disk: SimulatedDisk): SimulatedFileSystem {
    const next = new SimulatedFileSystem(this.nextOptions(), disk);
    next.limitDisk(this.diskBytes);
    this.nextOne = next;
    return next;
  }

  /** The next such operation fails. A failed write may have written a part; a failed sync makes what it should have synced indeterminate. */
  failNext(fault: Fault): void {
    this.faults.failNext(fault);
  }

  heal(): void {
    this.faults.heal();
  }

  /** Flips bits of one byte on the disk, as a failing disk does: what is synced and what is not. Returns what undoes it, where it still can. */
  flip(file: string, position: number, mask: number): () => void {
    const before = this.fileNode(file).current.bytes;
    const around = Buffer.from(before.subarray(Math.max(0, position - AROUND_BYTES), position + AROUND_BYTES));
    const flipNow = (): void => this.fileNode(file).flip(position, mask);
    flipNow();
    around[Math.min(position, AROUND_BYTES)] = (around[Math.min(position, AROUND_BYTES)] as number) ^ mask;
    return () => {
      this.successor().unflip(file, position, mask, around);
    };
  }

  /** The file's bytes as processes see them; for tests that look for a place. Undefined: there is no such file. */
  peek(file: string): Buffer | undefined {
    const node = this.disk.find(file);
    return node instanceof FileNode ? node.current.bytes : undefined;
  }

  /** All files below a folder, as processes see them. */
  files(folder: string): string[] {
    const found: string[] = [];
    const node = this.disk.find(folder);
    if (!(node instanceof DirectoryNode)) return found;
    for (const [name, child] of node.current) {
      if (child instanceof FileNode) found.push(path.join(folder, name));
      else found.push(...this.files(path.join(folder, name)));
    }
    return found.sort();
  }

  private fileNode(file: string): FileNode {
    const node = this.disk.find(file);
    if (!(node instanceof FileNode)) throw systemError("ENOENT", "flip", file);
    return node;
  }

  /** Not if the place was written meanwhile, or is not there any more. */
  private unflip(file: string, position: number, mask: number, around: Buffer): void {
    const node = this.disk.find(file);
    if (!(node instanceof FileNode)) return;
    const now = node.current.bytes.subarray(Math.max(0, position - AROUND_BYTES), position + AROUND_BYTES);
    // what is behind it may have been cut off, or have come since
    const common = Math.min(now.length, around.length);
    const isThere = position < node.current.size && now.subarray(0, common).equals(around.subarray(0, common));
    if (isThere) node.flip(position, mask);
  }

  /** The one that the disk is used through now. */
  private successor(): SimulatedFileSystem {
    return this.nextOne === undefined ? this : this.nextOne.successor();
  }

  async open(file: string, mode: "read" | "write" | "create"): Promise<File> {
    await this.begin("open", file);
    const { directory, name } = this.parent(file, "open");
    let node = directory.current.get(name);
    if (mode === "create") {
      if (node !== undefined) throw systemError("EEXIST", "open", file);
      node = new FileNode();
      this.disk.changeNames([{ directory, name, node }]);
      this.lastNameChange = `create ${name}`;
    }
    if (node === undefined) throw systemError("ENOENT", "open", file);
    if (node instanceof DirectoryNode) throw systemError("EISDIR", "open", file);
    node.path = path.resolve(file);
    const opened = new SimulatedFile(this.handleHost(), node, mode !== "read");
    this.opened.add(opened);
    this.openMost = Math.max(this.openMost, this.opened.size);
    return opened;
  }

  /** The names of the files that are open now, of all or of some. */
  openFiles(counts: (file: { readonly where: string; readonly writable: boolean }) => boolean = () => true): string[] {
    return [...this.opened]
      .filter(counts)
      .map(({ where }) => where)
      .sort();
  }

  async readFile(file: string): Promise<Buffer> {
    await this.begin("readFile", file);
    const node = this.disk.find(file);
    if (node === undefined) throw systemError("ENOENT", "open", file);
    if (node instanceof DirectoryNode) throw systemError("EISDIR", "read", file);
    return Buffer.from(node.current.bytes);
  }

  async list(folder: string): Promise<string[]> {
    await this.begin("list", folder);
    const names = [...this.directory(folder, "scandir").current.keys()];
    return names.sort(() => this.random.next() - 0.5);
  }

  async stat(file: string): Promise<{ bytes: number; isDirectory: boolean } | undefined> {
    await this.begin("stat", file);
    const node = this.disk.find(file);
    if (node === undefined) return undefined;
    return node instanceof DirectoryNode ? { bytes: 0, isDirectory: true } : { bytes: node.current.size, isDirectory: false };
  }

  async makeDirectory(folder: string): Promise<void> {
    await this.begin("makeDirectory", folder);
    let at = this.disk.root;
    let where = "/";
    for (const name of pathParts(folder)) {
      let next = at.current.get(name);
      if (next instanceof FileNode) throw systemError("ENOTDIR", "mkdir", folder);
      if (next === undefined) {
        next = new DirectoryNode();
        this.disk.changeNames([{ directory: at, name, node: next }]);
        this.syncNames(at, where);
      }
      at = next;
      where = path.join(where, name);
    }
  }

  async rename(from: string, to: string): Promise<void> {
    await this.begin("rename", from);
    const source = this.parent(from, "rename");
    const target = this.parent(to, "rename");
    const node = source.directory.current.get(source.name);
    if (node === undefined) throw systemError("ENOENT", "rename", from);
    this.disk.changeNames([
      { ...source, node: undefined },
      { ...target, node },
    ]);
    this.lastNameChange = `rename ${source.name} ${target.name}`;
    if (node instanceof FileNode) node.path = path.resolve(to);
  }

  async removeFile(file: string): Promise<void> {
    await this.begin("removeFile", file);
    const { directory, name } = this.parent(file, "unlink");
    const node = directory.current.get(name);
    if (node === undefined) throw systemError("ENOENT", "unlink", file);
    if (node instanceof DirectoryNode) throw systemError("EISDIR", "unlink", file);
    this.disk.changeNames([{ directory, name, node: undefined }]);
    this.lastNameChange = `remove ${name}`;
  }

  async removeTree(folder: string): Promise<void> {
    await this.begin("removeTree", folder);
    const node = this.disk.find(folder);
    if (node === undefined) return;
    if (node instanceof DirectoryNode) this.removeChildren(node);
    this.disk.changeNames([{ ...this.parent(folder, "rm"), node: undefined }]);
  }

  async syncDirectory(folder: string): Promise<void> {
    await this.begin("syncDirectory", folder);
    this.syncNames(this.directory(folder, "open"), path.resolve(folder));
  }

  async freeBytes(folder = "/"): Promise<number> {
    await this.begin("freeBytes", folder);
    return this.diskBytes === undefined ? Number.MAX_SAFE_INTEGER : Math.max(0, this.diskBytes - this.disk.usedBytes());
  }

  /** The disk holds no more than this from now on; undefined: as much as it likes. Survives `crash` and `kill`. */
  limitDisk(bytes: number | undefined): void {
    this.diskBytes = bytes;
  }

  usedBytes(): number {
    return this.disk.usedBytes();
  }

  private removeChildren(directory: DirectoryNode): void {
    for (const [name, node] of directory.current) {
      if (node instanceof DirectoryNode) this.removeChildren(node);
      this.disk.changeNames([{ directory, name, node: undefined }]);
    }
  }

  private syncNames(directory: DirectoryNode, where: string): void {
    this.syncs.directory++;
    if (this.options.ignoreSync?.(where, "directory", this.lastNameChange) !== true) this.disk.syncNames(directory);
  }

  private handleHost(): HandleHost {
    return {
      random: this.random,
      writing: this.writing,
      begin: (op, where) => this.begin(op, where),
      pass: () => this.pass(),
      room: (bytes) => {
        if (this.diskBytes === undefined || this.disk.usedBytes() + bytes <= this.diskBytes) return true;
        this.met("ENOSPC: the disk is full");
        return false;
      },
      fault: (op, where) => this.faults.meet(op, where),
      closed: (file) => this.opened.delete(file),
      syncing: (where) => {
        this.syncs.file++;
        return this.options.ignoreSync?.(where, "file", this.lastNameChange) !== true;
      },
    };
  }

  private async begin(op: Operation, where: string): Promise<void> {
    await this.pass();
    this.faults.meet(op, where);
  }

  /** Takes its time, and fails if the machine or the process has ended meanwhile. */
  private async pass(): Promise<void> {
    // a turn for whoever tries again and again, else no time limit would ever end it
    if (this.ended !== undefined) await new Promise<void>((resolve) => setImmediate(resolve));
    this.assertAlive();
    for (let turns = this.random.below((this.options.turnsMax ?? 2) + 1); turns > 0; turns--) {
      await new Promise<void>((resolve) => setImmediate(resolve));
    }
    await Promise.resolve();
    this.assertAlive();
  }

  private assertAlive(): void {
    if (this.ended !== undefined) throw systemError(this.ended, "use", "a file system that has ended; go on with the one it returned");
  }

  private directory(folder: string, call: string): DirectoryNode {
    const node = this.disk.find(folder);
    if (node === undefined) throw systemError("ENOENT", call, folder);
    if (!(node instanceof DirectoryNode)) throw systemError("ENOTDIR", call, folder);
    return node;
  }

  private parent(file: string, call: string): { directory: DirectoryNode; name: string } {
    const whole = path.resolve(file);
    return { directory: this.directory(path.dirname(whole), call), name: path.basename(whole) };
  }

  private nextOptions(): SimulatedFileSystemOptions {
    return { ...this.options, seed: Math.floor(this.random.next() * 2 ** 32) };
  }
}
