import path from "node:path";
import { closeAll, closedIfFails } from "../../../base/closing.ts";
import { MillraceError } from "../../../base/errors.ts";
import type { File, FileSystem } from "../../../base/fileSystem.ts";
import type { Logger } from "../../../base/logger.ts";
import { corrupt, decodeFileHeader, encodeFileHeader, fileHeaderBytes } from "./format.ts";

const fileName = /^(\d+)\.journal$/;

export interface FoundFile {
  readonly sequence: number;
  readonly path: string;
  readonly handle: File;
  readonly headerCrc: number;
  /** Its header or its size is wrong. */
  readonly damaged: boolean;
}

export function nameOf(sequence: number): string {
  return `${String(sequence).padStart(12, "0")}.journal`;
}

/** Opens the journal's files, oldest first. Of a damaged header everything is known from the file's name and the others' size. */
export async function openFiles(
  fileSystem: FileSystem,
  directory: string,
  logger: Logger,
  mode: "write" | "read" = "write",
): Promise<{ readonly files: readonly FoundFile[]; readonly fileBytes: number | undefined }> {
  const names = await fileSystem.list(directory);
  const sequences = names.flatMap((name) => fileName.exec(name)?.[1] ?? []).map(Number);
  sequences.sort((a, b) => a - b);
  const opened: { handle: File; file: string; sequence: number; fileBytes: number | undefined; size: number }[] = [];
  try {
    for (const sequence of sequences) {
      const file = path.join(directory, nameOf(sequence));
      const handle = await fileSystem.open(file, mode);
      const size = await closedIfFails(handle, () => handle.bytes());
      opened.push({ handle, file, sequence, fileBytes: undefined, size });
      const bytes = Buffer.alloc(fileHeaderBytes);
      const header = decodeFileHeader(bytes.subarray(0, await handle.read(bytes, 0, bytes.length, 0)), file);
      if (header === undefined) continue;
      if (header.sequence !== sequence) throw refused(file, `its header says that it is number ${header.sequence}`);
      (opened.at(-1) as (typeof opened)[number]).fileBytes = header.fileBytes;
    }
    const fileBytes = opened.find((one) => one.fileBytes !== undefined)?.fileBytes ?? opened[0]?.size;
    const files = opened.map((one): FoundFile => {
      if (fileBytes !== undefined && one.fileBytes !== undefined && one.fileBytes !== fileBytes)
        throw refused(one.file, "it has another size than the ones before it");
      const damaged = one.fileBytes === undefined || one.size < (fileBytes ?? 0);
      if (damaged) {
        const position = one.fileBytes === undefined ? 0 : one.size;
        logger.error("a file of the journal has a damaged header, or was cut short; what is whole in it is served", {
          file: one.file,
          position,
        });
      }
      const headerCrc = encodeFileHeader(one.sequence, fileBytes ?? 0).readUInt32LE(24);
      return { sequence: one.sequence, path: one.file, handle: one.handle, headerCrc, damaged };
    });
    return { files, fileBytes };
  } catch (error) {
    await closeAll(...opened.map(({ handle }) => handle)).catch(() => undefined);
    throw error;
  }
}

/** Not a damaged byte: somebody put it there. */
function refused(file: string, why: string): MillraceError {
  return corrupt(file, `a whole file is in the wrong place: ${why}`);
}
