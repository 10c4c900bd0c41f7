import type { File, FileSystem } from "../../../base/fileSystem.ts";
import { InFlight } from "../../../base/inFlight.ts";
import { journalClosed } from "../journalErrors.ts";

interface Opened {
  readonly handle: Promise<File>;
  users: number;
}

/** Files that are read now and then: at most so many stay open, the one used last the longest. More only while all are in use. */
export class HandleCache {
  /** In the order of their last use. */
  private readonly opened = new Map<string, Opened>();
  private readonly uses = new InFlight();
  private closed = false;

  constructor(
    private readonly fileSystem: FileSystem,
    private readonly handlesMax: number,
  ) {}

  get count(): number {
    return this.opened.size;
  }

  async use<T>(path: string, task: (handle: File) => Promise<T>): Promise<T> {
    if (this.closed) throw journalClosed();
    const found = this.opened.get(path) ?? { handle: this.fileSystem.open(path, "read"), users: 0 };
    this.opened.delete(path);
    this.opened.set(path, found);
    found.users++;
    this.uses.begin();
    try {
      return await task(await found.handle);
    } catch (error) {
      if (this.opened.get(path) === found) this.opened.delete(path); // the next one opens it anew
      throw error;
    } finally {
      found.users--;
      if (found.users === 0 && this.opened.get(path) !== found) await close(found);
      await this.closeIdle();
      this.uses.end();
    }
  }

  /** The file is about to be removed; who reads it still may finish. */
  async forget(path: string): Promise<void> {
    const found = this.opened.get(path);
    this.opened.delete(path);
    if (found?.users === 0) await close(found);
  }

  /** Resolves when those who read have finished; nobody else begins. */
  async close(): Promise<void> {
    this.closed = true;
    if (this.uses.any) await this.uses.none();
    for (const path of this.opened.keys()) await this.forget(path);
  }

  private async closeIdle(): Promise<void> {
    for (const [path, one] of this.opened) {
      if (this.opened.size <= this.handlesMax) return;
      if (one.users > 0) continue;
      this.opened.delete(path);
      await close(one);
    }
  }
}

/** It was only read: nothing is lost if it fails to close, and nobody has to know. */
async function close({ handle }: Opened): Promise<void> {
  const file = await handle.catch(() => undefined);
  await file?.close().catch(() => undefined);
}
