import path from "node:path";
import { MillraceError } from "../base/errors.ts";
import type { FileSystem } from "../base/fileSystem.ts";
import type { LogProblem } from "../log/tools/logProblem.ts";
import { decodeCheckpoint } from "../stream/checkpoint/checkpoint.ts";

const suffix = ".checkpoint";

/** The pipelines' checkpoints; there may be none. */
export async function verifyCheckpoints(
  fileSystem: FileSystem,
  folder: string,
): Promise<{ readonly count: number; readonly problems: readonly LogProblem[] }> {
  if ((await fileSystem.stat(folder)) === undefined) return { count: 0, problems: [] };
  const names = (await fileSystem.list(folder)).filter((name) => name.endsWith(suffix));
  const problems: LogProblem[] = [];
  for (const name of names) {
    const file = path.join(folder, name);
    try {
      decodeCheckpoint(await fileSystem.readFile(file), path.basename(name, suffix));
    } catch (error) {
      if (!(error instanceof MillraceError)) throw error;
      problems.push({ kind: "store", file, position: 0, what: error.message });
    }
  }
  return { count: names.length, problems };
}
