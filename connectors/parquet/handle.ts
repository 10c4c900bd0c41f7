import path from "node:path";
import { MillraceError } from "../../src/base/errors.ts";
import type { Handle } from "../../src/stream/contract/sink.ts";

/** A finished file under its temporary name, as the checkpoint keeps it. Paths are relative to the output folder. */
export interface PendingFile {
  readonly temporary: string;
  readonly final: string;
  readonly rows: number;
  readonly bytes: number;
  readonly footerCrc: number;
}

const version = 1;

export function toHandle(file: PendingFile): Handle {
  return { version, ...file };
}

/** Newer handles are refused: what they mean is not known here. */
export function fromHandle(handle: Handle): PendingFile {
  const { version: found, temporary, final, rows, bytes, footerCrc } = handle;
  if (found !== version) throw unreadable(`it has version ${JSON.stringify(found)}, this is version ${version}`);
  if (!isInside(temporary) || !isInside(final)) throw unreadable("it names no file in the output folder");
  if (typeof rows !== "number" || typeof bytes !== "number" || typeof footerCrc !== "number") throw unreadable("it has no sizes");
  return { temporary, final, rows, bytes, footerCrc };
}

function isInside(name: unknown): name is string {
  return typeof name === "string" && !path.isAbsolute(name) && !name.split("/").includes("..");
}

function unreadable(why: string): MillraceError {
  return new MillraceError("SINK_HANDLE_UNREADABLE", `the checkpoint holds a Parquet file that this version cannot take over: ${why}`, {
    domain: "user",
    hint: "Start the version of Millrace that wrote the checkpoint, or a newer one.",
  });
}
