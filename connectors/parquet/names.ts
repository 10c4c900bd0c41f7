/**
 * Names in the output folder:
 *   _pending/<pipeline>.<sink id>/<epoch>-<n>.pending     until the checkpoint that holds it is durable
 *   <partitions>/part-<id>-<epoch>-<n>.parquet            the result
 * id is 8 hexadecimal digits of (pipeline, sink id), so that several sinks can share a folder; n counts the files of an epoch. Readers
 * pass over `_pending`: it begins with an underscore, and nothing in it ends with `.parquet`.
 */
import path from "node:path";
import { crc32c } from "../../src/base/crc32c.ts";

const folderBytesMax = 200;

export function pendingFolder(pipeline: string, sinkId: string): string {
  const name = `${fileSafe(pipeline)}.${fileSafe(sinkId)}`;
  const short = name.length <= folderBytesMax ? name : `${name.slice(0, folderBytesMax - 9)}.${hash(pipeline, sinkId)}`;
  return path.join("_pending", short);
}

export function pendingName(epoch: number, n: number): string {
  return `${epoch}-${n}.pending`;
}

export function finalName(pipeline: string, sinkId: string, epoch: number, n: number): string {
  return `part-${hash(pipeline, sinkId)}-${String(epoch).padStart(8, "0")}-${String(n).padStart(4, "0")}.parquet`;
}

function hash(pipeline: string, sinkId: string): string {
  return crc32c(Buffer.from(JSON.stringify([pipeline, sinkId])))
    .toString(16)
    .padStart(8, "0");
}

/** Letters, digits, `_` and `-`; everything else as `~` and hexadecimal UTF-8, so that no two names become one. */
function fileSafe(name: string): string {
  return name.replace(/[^A-Za-z0-9_-]/gu, (char) => `~${Buffer.from(char).toString("hex")}`);
}
