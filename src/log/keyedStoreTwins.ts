/**
 * The two files of a keyed store, `catalog` and `catalog.twin`, and which of them counts.
 *
 * Invariants:
 * - A change is confirmed when it is on the disk in both: each alone has all that was ever confirmed.
 * - While changes are taken they are alike, byte for byte. A crash may leave them different in what was not confirmed: in the last entry, or in
 *   that one was written anew and the other not yet, and until both are nothing is confirmed.
 * - One that is whole counts, else one whose end is torn; if both are so, the longer one: the other one's end is lost, or its write did not come
 *   as far. If both are damaged before valid entries, neither counts. A start makes them alike before it shows anything.
 * - So a crash at any moment, with damage in one of the files too, costs nothing that was confirmed.
 */
import { allOver } from "../base/allOver.ts";
import { closeAll } from "../base/closing.ts";
import type { File, FileSystem } from "../base/fileSystem.ts";
import type { Logger } from "../base/logger.ts";
import { LiveEntries } from "./keyedStoreCopy.ts";
import { checkHeader, KeyedStoreDamage, replayEntries, type StoreIdentity } from "./keyedStoreFormat.ts";

export const twinsOf = (identity: StoreIdentity): readonly [StoreIdentity, StoreIdentity] => [
  identity,
  { ...identity, path: `${identity.path}.twin` },
];

/** One of the files, as far as it can be read. */
export interface ReadTwin {
  readonly file: string;
  /** Undefined: it is not there. */
  readonly bytes: Buffer | undefined;
  readonly live: LiveEntries;
  /** Where the valid entries end. */
  readonly end: number;
  readonly damage: KeyedStoreDamage | undefined;
}

export async function readTwin(fileSystem: FileSystem, identity: StoreIdentity): Promise<ReadTwin> {
  const { path: file } = identity;
  const live = new LiveEntries();
  const isThere = (await fileSystem.stat(file)) !== undefined;
  const bytes = isThere ? await fileSystem.readFile(file) : undefined;
  if (bytes === undefined) return { file, bytes, live, end: 0, damage: undefined };
  try {
    const end = replayEntries(bytes, checkHeader(bytes, identity), file, ([key, value], weight) => live.set(key, value ?? null, weight));
    return { file, bytes, live, end, damage: undefined };
  } catch (error) {
    if (!(error instanceof KeyedStoreDamage)) throw error;
    return { file, bytes, live, end: error.position, damage: error };
  }
}

/** Is there nothing in it but what is valid? */
export const isWhole = ({ bytes, end, damage }: ReadTwin): boolean => damage === undefined && end === bytes?.length;

/** Undefined: neither can be read. */
export function countingTwin(twins: readonly ReadTwin[]): ReadTwin | undefined {
  const readable = twins.filter(({ bytes, damage }) => bytes !== undefined && damage === undefined);
  return readable.toSorted((a, b) => Number(isWhole(b)) - Number(isWhole(a)) || b.end - a.end)[0];
}

export interface FoundStore {
  readonly counting: ReadTwin;
  /** Both are whole, and alike. */
  readonly isSound: boolean;
}

/** Undefined: there is no such store yet. What is wrong with a file is said. */
export async function findStore(fileSystem: FileSystem, identity: StoreIdentity, logger: Logger): Promise<FoundStore | undefined> {
  const [ofFirst, ofSecond] = twinsOf(identity);
  const first = await readTwin(fileSystem, ofFirst);
  if (isWhole(first) && (await isAlike(fileSystem, ofSecond, first))) return { counting: first, isSound: true };
  const twins = [first, await readTwin(fileSystem, ofSecond)];
  const counting = countingTwin(twins);
  if (counting === undefined) {
    const damage = twins.find((twin) => twin.damage !== undefined)?.damage;
    if (damage !== undefined) throw damage;
    return undefined;
  }
  for (const twin of twins) tell(twin, counting, logger);
  return { counting, isSound: false };
}

/** To compare costs less than to read it. */
async function isAlike(fileSystem: FileSystem, { path: file }: StoreIdentity, { bytes }: ReadTwin): Promise<boolean> {
  return (await fileSystem.stat(file))?.bytes === bytes?.length && (await fileSystem.readFile(file)).equals(bytes as Buffer);
}

function tell(twin: ReadTwin, counting: ReadTwin, logger: Logger): void {
  const { file, bytes, end: position, damage } = twin;
  const madeFrom = counting.file;
  if (damage !== undefined)
    logger.error("a file of a keyed store is damaged; it is made anew from the other one", {
      file,
      position,
      madeFrom,
      why: damage.message,
    });
  else if (bytes === undefined) logger.warn("a file of a keyed store is not there; it is made anew from the other one", { file, madeFrom });
  else if (twin !== counting)
    logger.warn("a file of a keyed store is behind the other one, or its end is damaged; it is made anew", { file, position, madeFrom });
  else if (!isWhole(twin)) logger.warn("cut a torn write off the end of a keyed store", { file, position, bytes: bytes.length - position });
}

/** Both files, to be written to. */
export class OpenTwins {
  constructor(private readonly handles: readonly File[]) {}

  /** On the disk in both when it resolves; rejects when neither is written to any more. */
  append(entry: Uint8Array, at: number): Promise<void> {
    return allOver(this.handles.map((handle) => writeDurably(handle, entry, at)));
  }

  /** One after the other: a loss of power finds one of them at rest. */
  async writeAgain(bytes: Uint8Array): Promise<void> {
    for (const handle of this.handles) await writeDurably(handle, bytes, 0);
  }

  close(): Promise<void> {
    return closeAll(...this.handles);
  }
}

async function writeDurably(handle: File, bytes: Uint8Array, at: number): Promise<void> {
  await handle.write(bytes, 0, bytes.length, at);
  await handle.sync();
}
