import path from "node:path";
import type { FileSystem } from "../../base/fileSystem.ts";
import { replaceFile } from "../../base/wholeFile.ts";
import type { CheckpointStore } from "../contract/host.ts";

const SUFFIX = ".checkpoint";

/**
 * One file a pipeline. Written under a temporary name, synced, renamed, and the directory synced: a crash at any moment leaves the
 * checkpoint before or this one, whole. Pipeline names are legal file names (see `pipeline`).
 */
export function fileCheckpointStore(options: { readonly fileSystem: FileSystem; readonly directory: string }): CheckpointStore {
  const { fileSystem, directory } = options;
  const fileOf = (pipeline: string): string => path.join(directory, `${pipeline}${SUFFIX}`);
  return {
    async load(pipeline) {
      const file = fileOf(pipeline);
      return (await fileSystem.stat(file)) === undefined ? undefined : fileSystem.readFile(file);
    },
    async commit(pipeline, checkpoint) {
      await fileSystem.makeDirectory(directory);
      await replaceFile(fileSystem, fileOf(pipeline), checkpoint);
    },
  };
}
