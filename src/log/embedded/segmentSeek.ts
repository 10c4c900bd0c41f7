import path from "node:path";
import type { MillraceError } from "../../base/errors.ts";
import type { File, FileSystem } from "../../base/fileSystem.ts";
import { BATCH_HEADER_BYTES, lastOffsetAt } from "../../record/batchHeader.ts";
import { validateBatchShape } from "../../record/validateBatch.ts";
import { logFileName } from "./names.ts";
import { loadOffsetIndex, lookUpOffset } from "./offsetIndex.ts";
import { scanSegment } from "./segmentScan.ts";

/** A segment file, opened by its reader. */
export interface OpenSegment {
  readonly baseOffset: number;
  readonly file: File;
}

export async function openSegment(fileSystem: FileSystem, folder: string, baseOffset: number): Promise<OpenSegment> {
  return { baseOffset, file: await fileSystem.open(path.join(folder, logFileName(baseOffset)), "read") };
}

/**
 * Where the first batch begins that ends at or after `offset`, or `limit`. An index entry is followed only if the batch that it promises
 * is there; else the segment is read from its start.
 */
export async function seekOffset(
  fileSystem: FileSystem,
  folder: string,
  { baseOffset, file }: OpenSegment,
  offset: number,
  limit: number,
): Promise<{ readonly position: number; readonly problem: MillraceError | undefined }> {
  const entries = await loadOffsetIndex(fileSystem, folder, baseOffset, Number.MAX_SAFE_INTEGER);
  const entry = lookUpOffset(entries ?? [], offset);
  const from = entry !== undefined && (await holds(file, entry, limit)) ? entry.position : 0;
  const { end, problem } = await scanSegment(file, from, limit, false, (bytes, at) =>
    lastOffsetAt(bytes, at) >= offset ? "stop" : undefined,
  );
  return { position: end, problem };
}

async function holds(file: File, entry: { offset: number; position: number }, limit: number): Promise<boolean> {
  if (entry.position + BATCH_HEADER_BYTES > limit) return false;
  const header = Buffer.allocUnsafe(BATCH_HEADER_BYTES);
  const length = await file.read(header, 0, BATCH_HEADER_BYTES, entry.position);
  return validateBatchShape(header, 0, length) === undefined && lastOffsetAt(header, 0) === entry.offset;
}
