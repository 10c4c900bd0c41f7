import { MillraceError } from "../../base/errors.ts";
import type { FileSystem } from "../../base/fileSystem.ts";
import type { Json } from "../contract/keyedStore.ts";
import { checkHeader, KeyedStoreDamage, replayEntries, type StoreIdentity } from "../keyedStoreFormat.ts";
import type { LogProblem } from "./logProblem.ts";

export interface VerifiedStore {
  /** Undefined: it is damaged, or not there. */
  readonly entries: ReadonlyMap<string, Json> | undefined;
  readonly bytes: number;
  readonly problems: readonly LogProblem[];
}

/** Reads a keyed store as a start does, and changes nothing. */
export async function verifyStore(fileSystem: FileSystem, identity: StoreIdentity): Promise<VerifiedStore> {
  const { path: file, name } = identity;
  if ((await fileSystem.stat(file)) === undefined) {
    return {
      entries: undefined,
      bytes: 0,
      problems: [{ kind: "store", file, position: 0, what: `the store of the ${name} is not there` }],
    };
  }
  const bytes = await fileSystem.readFile(file);
  const entries = new Map<string, Json>();
  try {
    const end = replayEntries(bytes, checkHeader(bytes, identity), file, ([key, value]) => {
      if (value === undefined) entries.delete(key);
      else entries.set(key, value);
    });
    const what = `its last write was not finished, or is damaged: ${bytes.length - end} bytes`;
    const torn: LogProblem = { kind: "tail", file, position: end, what };
    return { entries, bytes: bytes.length, problems: end < bytes.length ? [torn] : [] };
  } catch (error) {
    if (!(error instanceof KeyedStoreDamage)) throw error;
    return { entries: undefined, bytes: bytes.length, problems: [{ kind: "store", file, position: error.position, what: error.message }] };
  }
}

/** For those that read a store's entries: the store itself is left alone. */
export const readOnly = (entries: ReadonlyMap<string, Json>) => ({
  entries,
  change: (): Promise<void> =>
    Promise.reject(new MillraceError("KEYED_STORE_READ_ONLY", "The keyed store is only looked at.", { domain: "internal" })),
  close: async (): Promise<void> => undefined,
});
