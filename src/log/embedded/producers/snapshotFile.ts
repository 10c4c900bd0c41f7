import path from "node:path";
import type { FileSystem } from "../../../base/fileSystem.ts";
import { snapshotFileName, snapshotOffsetsOf } from "../segment/names.ts";
import { ProducerState } from "./producerState.ts";

/** The newest one and the one before it, in case a loss of power takes the newest. */
const SNAPSHOTS_KEPT = 2;

/** What is written in the place of a snapshot until it is durable. */
const NEW_SUFFIX = ".new";

/**
 * Everything below `offset` is synced. While the batches are there a snapshot says nothing that they don't. One that is synced stands at
 * the beginning of each segment but the first, durable before that has its name, and stays as long as the segment is written: so retention
 * can remove what is below, and a start after a loss of power has less to read.
 * @param segmentBase the newest one at or below is kept.
 */
export async function writeSnapshot(
  fileSystem: FileSystem,
  folder: string,
  offset: number,
  state: ProducerState,
  segmentBase: number,
  synced: boolean,
): Promise<void> {
  await putSnapshot(fileSystem, folder, offset, state, synced);
  const offsets = snapshotOffsetsOf(await fileSystem.list(folder));
  const ofSegment = offsets.findLast((other) => other <= segmentBase);
  for (const old of offsets.slice(0, -SNAPSHOTS_KEPT)) if (old !== ofSegment) await removeSnapshot(fileSystem, folder, old);
}

/** Where only the batches shall say from now on what was before. Durable when the folder was synced. */
export async function removeSnapshotsBelow(fileSystem: FileSystem, folder: string, offset: number): Promise<void> {
  for (const old of snapshotOffsetsOf(await fileSystem.list(folder))) if (old < offset) await removeSnapshot(fileSystem, folder, old);
}

/** Who writes and who compacts both remove old ones. */
async function removeSnapshot(fileSystem: FileSystem, folder: string, offset: number): Promise<void> {
  try {
    await fileSystem.removeFile(path.join(folder, snapshotFileName(offset)));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
  }
}

/** Leaves the older ones alone. One with this name may be what the beginning of a segment relies on: there is always a whole one. */
export async function putSnapshot(
  fileSystem: FileSystem,
  folder: string,
  offset: number,
  state: ProducerState,
  synced: boolean,
): Promise<void> {
  const name = path.join(folder, snapshotFileName(offset));
  const replaces = (await fileSystem.stat(name)) !== undefined;
  const written = replaces ? name + NEW_SUFFIX : name;
  if (replaces && (await fileSystem.stat(written)) !== undefined) await fileSystem.removeFile(written);
  const file = await fileSystem.open(written, "create");
  try {
    const bytes = state.encode();
    await file.write(bytes, 0, bytes.length, 0);
    if (synced || replaces) await file.sync();
  } finally {
    await file.close();
  }
  if (replaces) await fileSystem.rename(written, name);
  if (synced) await fileSystem.syncDirectory(folder);
}

/** The newest snapshot that is whole and not above `offsetMax`; offset 0 and nothing without one. */
export async function readSnapshot(
  fileSystem: FileSystem,
  folder: string,
  offsetMax: number,
  now: number,
): Promise<{ readonly offset: number; readonly state: ProducerState }> {
  for (const offset of snapshotOffsetsOf(await fileSystem.list(folder)).toReversed()) {
    if (offset > offsetMax) continue;
    const file = path.join(folder, snapshotFileName(offset));
    const state = ProducerState.decode(await fileSystem.readFile(file), file, now);
    if (state !== undefined) return { offset, state };
  }
  return { offset: 0, state: new ProducerState() };
}
