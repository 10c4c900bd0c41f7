import type { FileSystem } from "../../../src/base/fileSystem.ts";
import { type DataPlaces, type VerifiedData, verifyData } from "../../../src/log/tools/verifyData.ts";
import { SimulatedFileSystem } from "../../support/simulatedFileSystem.ts";

/** Whoever only looks may do no more than this. */
export function readOnly(fileSystem: FileSystem): FileSystem {
  const refused = (): Promise<never> => Promise.reject(new Error("it was only to look"));
  return {
    open: (name, mode) => (mode === "read" ? fileSystem.open(name, mode) : refused()),
    readFile: (name) => fileSystem.readFile(name),
    list: (name) => fileSystem.list(name),
    stat: (name) => fileSystem.stat(name),
    freeBytes: (name) => fileSystem.freeBytes(name),
    makeDirectory: refused,
    rename: refused,
    removeFile: refused,
    removeTree: refused,
    syncDirectory: refused,
  };
}

export const lookAt = (fileSystem: FileSystem, root = "/data", more: Partial<DataPlaces> = {}): Promise<VerifiedData> =>
  verifyData({
    fileSystem: readOnly(fileSystem),
    topics: `${root}/topics`,
    journal: `${root}/journal`,
    catalog: `${root}/catalog`,
    topology: `${root}/topology`,
    topologyVersion: 1,
    live: false,
    progress: () => undefined,
    ...more,
  });

export async function flip(fileSystem: FileSystem, file: string, at: number, bit: number): Promise<void> {
  const handle = await fileSystem.open(file, "write");
  const byte = Buffer.alloc(1);
  await handle.read(byte, 0, 1, at);
  byte[0] = (byte[0] as number) ^ (1 << bit);
  await handle.write(byte, 0, 1, at);
  await handle.sync();
  await handle.close();
}

/** What lies in a folder, on a disk of its own. */
export async function copyOf(from: FileSystem, folder: string, to: FileSystem = new SimulatedFileSystem({ seed: 2 })): Promise<FileSystem> {
  await to.makeDirectory(folder);
  for (const name of await from.list(folder)) {
    const file = `${folder}/${name}`;
    if ((await from.stat(file))?.isDirectory === true) await copyOf(from, file, to);
    else await writeAnew(to, file, await from.readFile(file));
  }
  return to;
}

export async function writeAnew(fileSystem: FileSystem, file: string, bytes: Buffer): Promise<void> {
  if ((await fileSystem.stat(file)) !== undefined) await fileSystem.removeFile(file);
  const handle = await fileSystem.open(file, "create");
  await handle.write(bytes, 0, bytes.length, 0);
  await handle.close();
}
