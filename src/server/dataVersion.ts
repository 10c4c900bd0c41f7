/**
 * The file `version` of a data directory: `millrace-data <n>`. Raised when an older release would misread what a newer one writes; that
 * release then refuses the directory. The formats within have numbers of their own: an older one is read, and written as it is now when its
 * file is written next. What cannot be left to that is an upgrade here.
 */
import path from "node:path";
import { MillraceError } from "../base/errors.ts";
import type { FileSystem } from "../base/fileSystem.ts";
import type { Logger } from "../base/logger.ts";
import { replaceFile } from "../base/wholeFile.ts";
import { layoutOf } from "./dataDirectory.ts";

/**
 * Takes a data directory from one version to the next, durably. It is done before the new version is written down, so that a crash on the way
 * has it done again: it must go on from wherever it came to, and leave what the release before cannot read only where that would be refused.
 */
export type Upgrade = (fileSystem: FileSystem, root: string) => Promise<void>;

/** The first is from version 1 to 2: there is none yet. */
const knownUpgrades: readonly Upgrade[] = [];

const versionFile = (root: string): string => path.join(root, "version");

/**
 * Brings a directory to this release's version; a new one has it at once, before it has anything else. Only under the directory's lock.
 * Throws DATA_TOO_NEW, DATA_VERSION_UNREADABLE.
 */
export async function bringToVersion(fileSystem: FileSystem, root: string, logger: Logger, upgrades = knownUpgrades): Promise<void> {
  const newest = upgrades.length + 1;
  const found = await readVersion(fileSystem, root, newest);
  if (found === undefined) {
    // to call it new would leave out its upgrades
    if ((await fileSystem.stat(layoutOf(root).catalog)) !== undefined) throw lostVersion(root);
    return write(fileSystem, root, newest);
  }
  for (let version = found; version < newest; version++) {
    logger.info("upgrading the data directory", { from: version, to: version + 1 });
    await (upgrades[version - 1] as Upgrade)(fileSystem, root);
    await write(fileSystem, root, version + 1);
  }
}

/** Undefined: it has none yet. Throws DATA_TOO_NEW, DATA_VERSION_UNREADABLE. */
export async function readVersion(fileSystem: FileSystem, root: string, newest = knownUpgrades.length + 1): Promise<number | undefined> {
  const file = versionFile(root);
  if ((await fileSystem.stat(file)) === undefined) return undefined;
  const text = (await fileSystem.readFile(file)).toString("utf8");
  const found = /^millrace-data ([1-9][0-9]{0,8})\n$/.exec(text)?.[1];
  if (found === undefined) {
    throw new MillraceError("DATA_VERSION_UNREADABLE", "the version of the data directory cannot be read", {
      domain: "external",
      where: file,
      hint: `A directory of this release says 'millrace-data ${newest}' there.`,
    });
  }
  if (Number(found) <= newest) return Number(found);
  throw new MillraceError("DATA_TOO_NEW", `the data directory has the format ${found}; this release reads up to ${newest}`, {
    domain: "user",
    where: file,
    hint: "Start the release that wrote it, or a later one.",
  });
}

const lostVersion = (root: string): MillraceError =>
  new MillraceError("DATA_VERSION_UNREADABLE", "the data directory has data, and no file that says its version", {
    domain: "external",
    where: versionFile(root),
    hint: "Bring the file back from the copy that the data came from; else start with another --data.",
  });

const write = (fileSystem: FileSystem, root: string, version: number): Promise<void> =>
  replaceFile(fileSystem, versionFile(root), Buffer.from(`millrace-data ${version}\n`));
