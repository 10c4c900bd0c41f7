import path from "node:path";
import { MillraceError } from "../base/errors.ts";
import type { File, FileSystem } from "../base/fileSystem.ts";
import type { Logger } from "../base/logger.ts";
import type { Json, KeyedStore } from "./contract/keyedStore.ts";
import { checkHeader, encodeEntry, encodeHeader, replayEntries, type StoreIdentity } from "./keyedStoreFormat.ts";

export interface KeyedStoreOptions extends StoreIdentity {
  readonly fileSystem: FileSystem;
  readonly logger: Logger;
  /** Below this much that is dead a rewrite is not worth its syncs. */
  readonly deadBytesMin?: number;
}

const deadBytesMinDefault = 64 * 1024;
/** A rewrite cuts the live entries into writes of about this size. */
const rewriteChunkBytes = 1024 * 1024;

/** The folder must exist; the file is made if it does not. */
export async function openKeyedStore(options: KeyedStoreOptions): Promise<KeyedStore> {
  const { fileSystem, path: file } = options;
  const folder = path.dirname(file);
  const temporary = temporaryPath(file);
  if ((await fileSystem.stat(temporary)) !== undefined) await fileSystem.removeFile(temporary);
  const live = new LiveEntries();
  if ((await fileSystem.stat(file)) === undefined) {
    const { handle, end } = await writeTemporary(options, live);
    await putInPlace(options);
    return new FileKeyedStore(options, live, handle, end);
  }
  const bytes = await fileSystem.readFile(file);
  const end = replayEntries(bytes, checkHeader(bytes, options), file, ([key, value]) => live.set(key, value ?? null));
  const handle = await fileSystem.open(file, "write");
  try {
    if (end < bytes.length) {
      options.logger.warn("cut a torn write off the end of a keyed store", { file, bytes: bytes.length - end });
      // needs no sync of its own: until the next entry's sync, a loss of power can only leave the same torn bytes
      await handle.truncate(end);
    }
    // what a killed process wrote may be in the page cache only, and after a sync that failed count as clean there
    await handle.write(bytes, 0, end, 0);
    await handle.sync();
    await fileSystem.syncDirectory(folder);
    const store = new FileKeyedStore(options, live, handle, end);
    await store.rewriteIfWorthIt();
    return store;
  } catch (error) {
    await handle.close();
    throw error;
  }
}

/** The map in memory, with what each entry weighs on the disk. */
class LiveEntries {
  readonly values = new Map<string, Json>();
  private readonly weights = new Map<string, number>();
  bytes = 0;

  set(key: string, value: Json): void {
    this.bytes -= this.weights.get(key) ?? 0;
    if (value === null) {
      this.values.delete(key);
      this.weights.delete(key);
      return;
    }
    const weight = encodeChange(key, value).length;
    this.values.set(key, value);
    this.weights.set(key, weight);
    this.bytes += weight;
  }
}

interface Waiting {
  readonly changes: ReadonlyMap<string, Json | null>;
  readonly encoded: readonly string[];
  readonly resolve: () => void;
  readonly reject: (error: MillraceError) => void;
}

class FileKeyedStore implements KeyedStore {
  private waiting: Waiting[] = [];
  private committing: Promise<void> | undefined;
  private refusal: MillraceError | undefined;
  private closed = false;
  private rewriteNotBefore = 0;

  constructor(
    private readonly options: KeyedStoreOptions,
    private readonly live: LiveEntries,
    private handle: File,
    private end: number,
  ) {}

  get entries(): ReadonlyMap<string, Json> {
    return this.live.values;
  }

  change(changes: ReadonlyMap<string, Json | null>): Promise<void> {
    if (this.refusal !== undefined) return Promise.reject(this.refusal);
    if (changes.size === 0) return Promise.resolve();
    const encoded = Array.from(changes, ([key, value]) => encodeChange(key, value));
    return new Promise((resolve, reject) => {
      this.waiting.push({ changes, encoded, resolve, reject });
      this.committing ??= this.commitAll();
    });
  }

  async close(): Promise<void> {
    this.refusal ??= new MillraceError("KEYED_STORE_CLOSED", "The keyed store is closed.", {
      domain: "internal",
      where: this.options.path,
    });
    await this.committing;
    if (this.closed) return;
    this.closed = true;
    await this.handle.close();
  }

  async rewriteIfWorthIt(): Promise<void> {
    const dead = this.end - this.live.bytes;
    if (dead < (this.options.deadBytesMin ?? deadBytesMinDefault) || dead < this.live.bytes || this.end < this.rewriteNotBefore) return;
    let written: WrittenFile;
    try {
      written = await writeTemporary(this.options, this.live);
    } catch (error) {
      this.rewriteNotBefore = this.end * 2; // a full disk, say: the file in use is whole and goes on
      this.options.logger.warn("could not rewrite a keyed store", { file: this.options.path, error });
      await this.options.fileSystem.removeFile(temporaryPath(this.options.path)).catch(() => undefined);
      return;
    }
    const before = this.handle;
    this.handle = written.handle;
    this.end = written.end;
    await before.close();
    await putInPlace(this.options);
  }

  /** One entry and one sync for all that waits; what comes meanwhile is in the next. */
  private async commitAll(): Promise<void> {
    await Promise.resolve(); // changes of the same turn go together
    while (this.waiting.length > 0) {
      const group = this.waiting;
      this.waiting = [];
      try {
        const entry = encodeEntry(group.flatMap((one) => one.encoded));
        await this.handle.write(entry, 0, entry.length, this.end);
        await this.handle.sync();
        this.end += entry.length;
      } catch (error) {
        this.fail(error, group);
        break;
      }
      for (const one of group) {
        for (const [key, value] of one.changes) this.live.set(key, value);
        one.resolve();
      }
      try {
        await this.rewriteIfWorthIt();
      } catch (error) {
        this.fail(error, []);
      }
    }
    this.committing = undefined;
  }

  /** A failed write or sync leaves the file's end unknown: it is never tried again, a restart reads what is there. */
  private fail(cause: unknown, group: readonly Waiting[]): void {
    const failure = new MillraceError("KEYED_STORE_FAILED", "A write of the keyed store failed; the change is kept whole or not at all.", {
      domain: "external",
      where: this.options.path,
      hint: "Free or repair the disk, then restart.",
      cause,
    });
    this.refusal = failure;
    this.options.logger.error("keyed store failed", { file: this.options.path, error: failure });
    for (const one of [...group, ...this.waiting]) one.reject(failure);
    this.waiting = [];
  }
}

interface WrittenFile {
  readonly handle: File;
  readonly end: number;
}

async function writeTemporary(options: KeyedStoreOptions, live: LiveEntries): Promise<WrittenFile> {
  const handle = await options.fileSystem.open(temporaryPath(options.path), "create");
  try {
    let end = await append(handle, encodeHeader(options), 0);
    for (const entry of wholeEntries(live.values)) end = await append(handle, entry, end);
    await handle.sync();
    return { handle, end };
  } catch (error) {
    await handle.close();
    throw error;
  }
}

/** Whichever of the two files a loss of power leaves under the name, it is whole; after this it is the new one. */
async function putInPlace(options: KeyedStoreOptions): Promise<void> {
  await options.fileSystem.rename(temporaryPath(options.path), options.path);
  await options.fileSystem.syncDirectory(path.dirname(options.path));
}

async function append(handle: File, bytes: Buffer, at: number): Promise<number> {
  await handle.write(bytes, 0, bytes.length, at);
  return at + bytes.length;
}

function* wholeEntries(values: ReadonlyMap<string, Json>): Generator<Buffer> {
  let changes: string[] = [];
  let bytes = 0;
  for (const [key, value] of values) {
    const change = encodeChange(key, value);
    changes.push(change);
    bytes += change.length;
    if (bytes < rewriteChunkBytes) continue;
    yield encodeEntry(changes);
    changes = [];
    bytes = 0;
  }
  if (changes.length > 0) yield encodeEntry(changes);
}

function encodeChange(key: string, value: Json | null): string {
  return JSON.stringify(value === null ? [key] : [key, value]);
}

function temporaryPath(file: string): string {
  return `${file}.new`;
}
