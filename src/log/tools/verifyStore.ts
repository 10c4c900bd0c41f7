import { MillraceError } from "../../base/errors.ts";
import type { FileSystem } from "../../base/fileSystem.ts";
import type { Json } from "../contract/keyedStore.ts";
import type { StoreIdentity } from "../keyedStoreFormat.ts";
import { countingTwin, isWhole, type ReadTwin, readTwin, twinsOf } from "../keyedStoreTwins.ts";
import type { LogProblem } from "./logProblem.ts";

export interface VerifiedStore {
  /** Undefined: it is damaged, or not there. */
  readonly entries: ReadonlyMap<string, Json> | undefined;
  readonly problems: readonly LogProblem[];
}

/** Reads both files of a keyed store as a start does, and changes nothing. */
export async function verifyStore(fileSystem: FileSystem, identity: StoreIdentity): Promise<VerifiedStore> {
  const { path: file, name } = identity;
  const twins: ReadTwin[] = [];
  for (const twin of twinsOf(identity)) twins.push(await readTwin(fileSystem, twin));
  if (twins.every(({ bytes }) => bytes === undefined)) {
    return { entries: undefined, problems: [{ kind: "store", file, position: 0, what: `the store of the ${name} is not there` }] };
  }
  const counting = countingTwin(twins);
  return { entries: counting?.live.values, problems: twins.flatMap((twin) => problemOf(twin, counting) ?? []) };
}

function problemOf(twin: ReadTwin, counting: ReadTwin | undefined): LogProblem | undefined {
  const { file, bytes, end, damage } = twin;
  const healing = counting === undefined ? "" : `; a start makes the file anew from ${counting.file}`;
  if (damage !== undefined) return { kind: "store", file, position: damage.position, what: `${damage.message}${healing}` };
  if (bytes === undefined) return { kind: "state", file, position: 0, what: `the file is not there${healing}` };
  const rest = `${bytes.length - end} bytes`;
  if (twin !== counting && counting !== undefined && isWhole(counting)) {
    if (isWhole(twin) && end === counting.end) return undefined;
    return { kind: "state", file, position: end, what: `it is behind the other file, or its end is damaged: ${rest}${healing}` };
  }
  return isWhole(twin) ? undefined : { kind: "tail", file, position: end, what: `its last write was not finished, or is damaged: ${rest}` };
}

/** For those that read a store's entries: the store itself is left alone. */
export const readOnly = (entries: ReadonlyMap<string, Json>) => ({
  entries,
  change: (): Promise<void> =>
    Promise.reject(new MillraceError("KEYED_STORE_READ_ONLY", "The keyed store is only looked at.", { domain: "internal" })),
  close: async (): Promise<void> => undefined,
});
