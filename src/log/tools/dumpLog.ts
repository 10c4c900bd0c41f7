import path from "node:path";
import type { File, FileSystem } from "../../base/fileSystem.ts";
import {
  attributesAt,
  BatchAttribute,
  baseOffsetAt,
  baseSequenceAt,
  batchBytesAt,
  countAt,
  lastOffsetAt,
  maxTimestampAt,
  producerEpochAt,
  producerIdAt,
} from "../../record/batchHeader.ts";
import { isControlAt, isTransactionalAt, markerAt } from "../../record/controlBatch.ts";
import type { RecordHeader } from "../../record/record.ts";
import { RecordCursor } from "../../record/recordCursor.ts";
import { clearPlaceBehind } from "../embedded/segment/behindDamage.ts";
import { offsetsBehind, SearchBudget } from "../embedded/segment/lookalikes.ts";
import { baseOffsetsOf, logFileName } from "../embedded/segment/names.ts";
import { scanSegment } from "../embedded/segment/segmentScan.ts";
import { partitionFolders } from "./verifyLog.ts";

const CODECS = ["none", "gzip", "snappy", "lz4", "zstd"];
/** Of a key or value, in characters. */
const SHOWN_MAX = 200;

/**
 * A line a batch, and a line a record if `showHeaders` is given, with another one for what that makes of its headers; bad bytes are named
 * where they lie.
 * @param print says false when it wants no more
 */
export async function dumpLog(
  fileSystem: FileSystem,
  directory: string,
  showHeaders: ((headers: readonly RecordHeader[]) => string) | undefined,
  print: (line: string) => boolean,
): Promise<void> {
  for (const folder of await partitionFolders(fileSystem, directory)) {
    for (const base of baseOffsetsOf(await fileSystem.list(folder))) {
      const name = path.join(folder, logFileName(base));
      if (!print(name)) return;
      const file = await fileSystem.open(name, "read");
      try {
        if (!(await dumpSegment(file, base, showHeaders, print))) return;
      } finally {
        await file.close();
      }
    }
  }
}

async function dumpSegment(
  file: File,
  baseOffset: number,
  showHeaders: ((headers: readonly RecordHeader[]) => string) | undefined,
  print: (line: string) => boolean,
): Promise<boolean> {
  const bytes = await file.bytes();
  let goesOn = true;
  let nextOffset = baseOffset;
  const budget = new SearchBudget(bytes); // of all searches together: there may be many holes
  for (let from: number | undefined = 0; from !== undefined && goesOn; ) {
    const { end, problem } = await scanSegment(file, from, bytes, true, (buffer, at, position) => {
      nextOffset = lastOffsetAt(buffer, at) + 1;
      goesOn = print(batchLine(buffer, at, position)) && (showHeaders === undefined || printRecords(buffer, at, showHeaders, print));
      return goesOn ? undefined : "stop";
    });
    if (!goesOn || end === bytes) break;
    const behind = await clearPlaceBehind(file, end, bytes, offsetsBehind(nextOffset, baseOffset), budget);
    const upTo = behind === undefined ? "to the end of the file" : "to the next whole batch";
    goesOn = print(`  at ${end}: ${problem?.message ?? "not a batch"} (${(behind?.position ?? bytes) - end} bytes ${upTo})`);
    from = behind?.position;
  }
  return goesOn;
}

function batchLine(bytes: Buffer, at: number, position: number): string {
  const attributes = attributesAt(bytes, at);
  const id = producerIdAt(bytes, at);
  const producer = id < 0n ? "" : `, producer ${id} epoch ${producerEpochAt(bytes, at)} sequence ${baseSequenceAt(bytes, at)}`;
  const codec = attributes & BatchAttribute.codecMask;
  const marker = isControlAt(bytes, at) ? markerAt(bytes, at) : undefined;
  const marks = marker && `, ${marker.outcome} marker of coordinator epoch ${marker.coordinatorEpoch}`;
  const transaction = marks ?? (isTransactionalAt(bytes, at) ? ", transactional" : "");
  const compressed = codec === 0 ? "" : `, ${CODECS[codec] ?? `codec ${codec}`}`;
  const time = new Date(maxTimestampAt(bytes, at));
  const latest = Number.isNaN(time.getTime()) ? String(maxTimestampAt(bytes, at)) : time.toISOString();
  const offsets = `offsets ${baseOffsetAt(bytes, at)} to ${lastOffsetAt(bytes, at)}`;
  return `  at ${position}: ${offsets}, ${countAt(bytes, at)} records, ${batchBytesAt(bytes, at)} bytes, latest ${latest}${producer}${transaction}${compressed}`;
}

function printRecords(
  bytes: Buffer,
  at: number,
  showHeaders: (headers: readonly RecordHeader[]) => string,
  print: (line: string) => boolean,
): boolean {
  if ((attributesAt(bytes, at) & BatchAttribute.codecMask) !== 0) return print("    (compressed)");
  const cursor = new RecordCursor(bytes, at, at + batchBytesAt(bytes, at));
  while (cursor.next()) {
    const { offset, key, value, headers } = cursor.record();
    if (!print(`    ${offset} ${text(key)}: ${text(value)}`)) return false;
    if (headers.length > 0 && !print(`      ${showHeaders(headers)}`)) return false;
  }
  return true;
}

/** As JSON would write it, so that a terminal gets no control characters. */
function text(bytes: Uint8Array | null): string {
  if (bytes === null) return "null";
  const whole = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.length, SHOWN_MAX)).toString("utf8");
  return JSON.stringify(whole) + (bytes.length > SHOWN_MAX ? ` and ${bytes.length - SHOWN_MAX} bytes more` : "");
}
