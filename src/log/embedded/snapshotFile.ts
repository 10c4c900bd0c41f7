import path from "node:path";
import type { FileSystem } from "../../base/fileSystem.ts";
import { snapshotFileName, snapshotOffsetsOf } from "./names.ts";
import { ProducerState } from "./producerState.ts";

/** The newest one and the one before it, in case the newest is damaged. */
const SNAPSHOTS_KEPT = 2;

const TEMPORARY_SUFFIX = ".tmp";

/** Writes the snapshot of `offset`, durable when it resolves, and removes the oldest ones. */
export async function writeSnapshot(fileSystem: FileSystem, folder: string, offset: number, state: ProducerState): Promise<void> {
  const final = path.join(folder, snapshotFileName(offset));
  const temporary = final + TEMPORARY_SUFFIX;
  if ((await fileSystem.stat(temporary)) !== undefined) await fileSystem.removeFile(temporary);
  const file = await fileSystem.open(temporary, "create");
  try {
    const bytes = state.encode();
    await file.write(bytes, 0, bytes.length, 0);
    await file.sync();
  } finally {
    await file.close();
  }
  await fileSystem.rename(temporary, final);
  await fileSystem.syncDirectory(folder);
  const offsets = snapshotOffsetsOf(await fileSystem.list(folder));
  for (const old of offsets.slice(0, -SNAPSHOTS_KEPT)) await fileSystem.removeFile(path.join(folder, snapshotFileName(old)));
}

/** The newest snapshot that is whole; offset 0 and nothing without one. */
export async function readSnapshot(fileSystem: FileSystem, folder: string): Promise<{ offset: number; state: ProducerState }> {
  for (const offset of snapshotOffsetsOf(await fileSystem.list(folder)).toReversed()) {
    const file = path.join(folder, snapshotFileName(offset));
    const state = ProducerState.decode(await fileSystem.readFile(file), file);
    if (state !== undefined) return { offset, state };
  }
  return { offset: 0, state: new ProducerState() };
}
