/**
 * A file of a keyed store written anew beside the one in use, and put in its place: whichever of the two a crash leaves under the
 * name, it is whole.
 */
import { closedIfFails } from "../base/closing.ts";
import type { File, FileSystem } from "../base/fileSystem.ts";
import type { Json } from "./contract/keyedStore.ts";
import { encodeChange, encodeEntry, encodeHeader, type StoreIdentity } from "./keyedStoreFormat.ts";

/** The live entries are cut into writes of about this size. */
const CHUNK_BYTES = 1024 * 1024;

/** The map in memory, with what each entry weighs on the disk, about. */
export class LiveEntries {
  readonly values = new Map<string, Json>();
  private readonly weights = new Map<string, number>();
  bytes = 0;

  set(key: string, value: Json, weight: number): void {
    this.bytes -= this.weights.get(key) ?? 0;
    if (value === null) {
      this.values.delete(key);
      this.weights.delete(key);
      return;
    }
    this.values.set(key, value);
    this.weights.set(key, weight);
    this.bytes += weight;
  }
}

export interface WrittenFile {
  readonly handle: File;
  readonly end: number;
}

/** On the disk, under another name than the file's. What an earlier try left there goes. */
export async function writeCopy(fileSystem: FileSystem, identity: StoreIdentity, live: LiveEntries): Promise<WrittenFile> {
  await removeCopy(fileSystem, identity);
  const handle = await fileSystem.open(copyPath(identity), "create");
  return closedIfFails(handle, async () => {
    let end = await append(handle, encodeHeader(identity), 0);
    for (const entry of wholeEntries(live.values)) end = await append(handle, entry, end);
    await handle.sync();
    return { handle, end };
  });
}

/** Until the directory is synced nobody knows which file a crash leaves under the name: neither may be written to. */
export const putCopyInPlace = (fileSystem: FileSystem, identity: StoreIdentity): Promise<void> =>
  fileSystem.rename(copyPath(identity), identity.path);

export async function removeCopy(fileSystem: FileSystem, identity: StoreIdentity): Promise<void> {
  const file = copyPath(identity);
  if ((await fileSystem.stat(file)) !== undefined) await fileSystem.removeFile(file);
}

const copyPath = (identity: StoreIdentity): string => `${identity.path}.new`;

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
    if (bytes < CHUNK_BYTES) continue;
    yield encodeEntry(changes);
    changes = [];
    bytes = 0;
  }
  if (changes.length > 0) yield encodeEntry(changes);
}
