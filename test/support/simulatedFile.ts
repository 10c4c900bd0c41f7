import type { File } from "../../src/base/fileSystem.ts";
import type { Random } from "../../src/base/random.ts";
import type { FileNode, Write } from "./simulatedDisk.ts";
import { type Operation, systemError } from "./simulatedFaults.ts";

/** What an open file needs of its file system. */
export interface HandleHost {
  readonly random: Random;
  readonly writing: Set<{ readonly node: FileNode; readonly position: number; readonly bytes: Buffer }>;
  begin(op: Operation, where: string): Promise<void>;
  pass(): Promise<void>;
  /** Is there room for so many bytes more? */
  room(bytes: number): boolean;
  fault(op: Operation, where: string): void;
  syncing(where: string): boolean;
  closed(file: SimulatedFile): void;
}

/** An open one. */
export class SimulatedFile implements File {
  private closed = false;
  /**
   * Of its two descriptors (synced writes go to a second one, opened with the first of them), up to which failed sync of the file it has told:
   * as on Linux each of them tells of each one once, whoever met it first.
   */
  private readonly told: { plain: number; synced: number | undefined };

  constructor(
    private readonly host: HandleHost,
    private readonly node: FileNode,
    readonly writable: boolean,
  ) {
    this.told = { plain: node.failedSyncs, synced: undefined };
  }

  /** Its name now. */
  get where(): string {
    return this.node.path;
  }

  async read(into: Uint8Array, offset: number, length: number, position: number): Promise<number> {
    this.assertOpen("read");
    await this.host.begin("read", this.where);
    const found = this.node.current.bytes.subarray(position, position + length);
    into.set(found, offset);
    return found.length;
  }

  async write(from: Uint8Array, offset: number, length: number, position: number): Promise<void> {
    await this.put(from, offset, length, position);
  }

  /** Only what it writes itself is durable by it, and the size. */
  async writeSynced(from: Uint8Array, offset: number, length: number, position: number): Promise<void> {
    this.told.synced ??= this.node.failedSyncs;
    const write = await this.put(from, offset, length, position);
    await this.syncBy("synced", () => this.node.syncOnly(write));
  }

  async sync(): Promise<void> {
    this.assertOpen("fdatasync");
    await this.syncBy("plain", () => this.node.sync());
  }

  async truncate(bytes: number): Promise<void> {
    this.assertOpen("ftruncate");
    await this.host.begin("truncate", this.where);
    this.node.change({ kind: "truncate", bytes });
  }

  async bytes(): Promise<number> {
    this.assertOpen("fstat");
    await this.host.begin("stat", this.where);
    return this.node.current.size;
  }

  async close(): Promise<void> {
    this.assertOpen("close");
    this.closed = true; // also when it fails, as in the real one
    this.host.closed(this);
    await this.host.begin("close", this.where);
  }

  private async put(from: Uint8Array, offset: number, length: number, position: number): Promise<Write> {
    this.assertOpen("write");
    if (!this.writable) throw systemError("EBADF", "write", this.where);
    // not copied before it is done: a caller that reuses its buffer too early spoils the file, as in the real one
    const underWay = { node: this.node, position, bytes: Buffer.from(from.buffer, from.byteOffset + offset, length) };
    this.host.writing.add(underWay);
    try {
      await this.host.pass();
    } finally {
      this.host.writing.delete(underWay);
    }
    try {
      this.host.fault("write", this.where);
      const grows = position + length - this.node.current.size;
      if (grows > 0 && !this.host.room(grows)) throw systemError("ENOSPC", "write", this.where);
    } catch (error) {
      const written = underWay.bytes.subarray(0, this.host.random.below(length + 1));
      this.node.change({ kind: "write", position, bytes: Buffer.from(written) });
      throw error;
    }
    const write: Write = { kind: "write", position, bytes: Buffer.from(underWay.bytes) };
    this.node.change(write);
    return write;
  }

  private async syncBy(descriptor: "plain" | "synced", sync: () => void): Promise<void> {
    const { host, node, told, where } = this;
    try {
      await host.begin("sync", where);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).syscall === "sync") {
        node.failSync(host.random);
        told[descriptor] = node.failedSyncs;
      }
      throw error;
    }
    if (host.syncing(where)) sync();
    if (told[descriptor] === node.failedSyncs) return;
    told[descriptor] = node.failedSyncs;
    throw systemError("EIO", "sync", where);
  }

  private assertOpen(call: string): void {
    if (this.closed) throw systemError("EBADF", call, this.where);
  }
}
