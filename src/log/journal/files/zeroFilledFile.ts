import type { File, FileSystem } from "../../../base/fileSystem.ts";

const zeros = Buffer.alloc(1024 * 1024);

/** A new file that takes its whole size at once: a sync within it has no size to write down. If it fails, nothing is left open. */
export async function createZeroFilled(fileSystem: FileSystem, file: string, bytes: number): Promise<File> {
  const handle = await fileSystem.open(file, "create");
  try {
    for (let at = 0; at < bytes; at += zeros.length) await handle.write(zeros, 0, Math.min(zeros.length, bytes - at), at);
    return handle;
  } catch (error) {
    await handle.close().catch(() => undefined);
    await fileSystem.removeFile(file).catch(() => undefined); // or before the next try, or at the next start
    throw error;
  }
}
