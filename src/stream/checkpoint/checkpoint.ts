/**
 * A checkpoint: everything that a pipeline needs to go on as if nothing had happened.
 *
 *   0 magic "MRCP"   4 version u16   6 reserved u16 = 0   8 payload length u32   12 CRC-32C of the payload u32   16 payload
 *
 * Big-endian; the payload is JSON (`Checkpoint`). Older versions are read, newer ones refused. Nothing follows the payload.
 */
import { crc32c } from "../../base/crc32c.ts";
import { MillraceError } from "../../base/errors.ts";
import type { Json } from "../../log/contract/keyedStore.ts";
import type { RowSchema } from "../contract/columns.ts";
import type { Handle } from "../contract/sink.ts";
import type { Fingerprint } from "../engine/node.ts";

const CHECKPOINT_VERSION = 1;
const HEADER_BYTES = 16;
const MAGIC = "MRCP";

export interface Checkpoint {
  readonly pipeline: string;
  readonly epoch: number;
  /** Everything was taken in, the last watermark fired: the pipeline is finished. */
  readonly drained: boolean;
  readonly sources: readonly SourcePosition[];
  /** A number as operators' states have it. Never goes back, whatever partitions come. */
  readonly watermark: Json;
  /** By the stateful part's id. */
  readonly states: { readonly [id: string]: { readonly fingerprint: Fingerprint; readonly state: Json } };
  readonly sinks: { readonly [id: string]: SinkState };
  readonly counters: Counters;
  readonly skips: readonly Skip[];
}

export interface SourcePosition {
  readonly topic: string;
  readonly partition: number;
  /** The next to be read. */
  readonly offset: number;
  /** ms; null before the first record. */
  readonly maxEventTime: number | null;
}

export interface SinkState {
  readonly pending: readonly Handle[];
  readonly resume: Json;
  /** null before the first row. `inferred`: from values, so that a later version of the code must not change them. */
  readonly columns: { readonly schema: RowSchema; readonly inferred: boolean } | null;
  readonly rows: number;
}

interface Counters {
  readonly recordsIn: number;
  readonly late: number;
  readonly dead: number;
}

/** A record, or a window's row, that a callback threw at: left out when it is met again, and sent to the dead topic. */
export interface Skip {
  readonly place: string;
  readonly reason: string;
  readonly message: string;
  readonly operator: string;
}

export function encodeCheckpoint(checkpoint: Checkpoint): Buffer {
  const payload = Buffer.from(JSON.stringify(checkpoint));
  const header = Buffer.alloc(HEADER_BYTES);
  header.write(MAGIC, 0, "latin1");
  header.writeUInt16BE(CHECKPOINT_VERSION, 4);
  header.writeUInt32BE(payload.length, 8);
  header.writeUInt32BE(crc32c(payload), 12);
  return Buffer.concat([header, payload]);
}

export function decodeCheckpoint(bytes: Uint8Array, pipeline: string): Checkpoint {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (buffer.length < HEADER_BYTES || buffer.toString("latin1", 0, 4) !== MAGIC) throw corrupt(pipeline, "it is no checkpoint");
  const version = buffer.readUInt16BE(4);
  if (version > CHECKPOINT_VERSION) throw tooNew(pipeline, version);
  const payload = buffer.subarray(HEADER_BYTES);
  if (payload.length !== buffer.readUInt32BE(8)) throw corrupt(pipeline, "its length is wrong");
  if (crc32c(payload) !== buffer.readUInt32BE(12)) throw corrupt(pipeline, "its checksum is wrong");
  return JSON.parse(payload.toString()) as Checkpoint;
}

function corrupt(pipeline: string, why: string): MillraceError {
  return new MillraceError("CHECKPOINT_CORRUPT", `The checkpoint of '${pipeline}' can't be read: ${why}.`, {
    domain: "external",
    where: `pipeline ${pipeline}`,
    hint: "Restore it from a backup; without it the pipeline starts from the beginning of its topics and writes its results again.",
  });
}

function tooNew(pipeline: string, version: number): MillraceError {
  return new MillraceError(
    "CHECKPOINT_TOO_NEW",
    `The checkpoint of '${pipeline}' has version ${version}; this Millrace reads up to ${CHECKPOINT_VERSION}.`,
    { domain: "user", where: `pipeline ${pipeline}`, hint: "Start the version of Millrace that wrote it, or a newer one." },
  );
}
