import path from "node:path";
import type { FileSystem } from "../../base/fileSystem.ts";
import { snapshotFileName, snapshotOffsetsOf } from "./names.ts";
import { ProducerState } from "./producerState.ts";

/** The newest one and the one before it, in case a loss of power takes the newest. */
const SNAPSHOTS_KEPT = 2;

/** Everything below `offset` is synced. The snapshot itself is not: it says nothing that the batches don't. */
export async function writeSnapshot(fileSystem: FileSystem, folder: string, offset: number, state: ProducerState): Promise<void> {
  const name = path.join(folder, snapshotFileName(offset));
  if ((await fileSystem.stat(name)) !== undefined) await fileSystem.removeFile(name);
  const file = await fileSystem.open(name, "create");
  try {
    const bytes = state.encode();
    await file.write(bytes, 0, bytes.length, 0);
  } finally {
    await file.close();
  }
  const offsets = snapshotOffsetsOf(await fileSystem.list(folder));
  for (const old of offsets.slice(0, -SNAPSHOTS_KEPT)) await fileSystem.removeFile(path.join(folder, snapshotFileName(old)));
}

/** The newest snapshot that is whole and not above `offsetMax`; offset 0 and nothing without one. */
export async function readSnapshot(
  fileSystem: FileSystem,
  folder: string,
  offsetMax: number,
): Promise<{ readonly offset: number; readonly state: ProducerState }> {
  for (const offset of snapshotOffsetsOf(await fileSystem.list(folder)).toReversed()) {
    if (offset > offsetMax) continue;
    const file = path.join(folder, snapshotFileName(offset));
    const state = ProducerState.decode(await fileSystem.readFile(file), file);
    if (state !== undefined) return { offset, state };
  }
  return { offset: 0, state: new ProducerState() };
}
