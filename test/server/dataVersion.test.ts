/** A data directory's version: whoever starts brings it to that of the release, step by step, whatever happens on the way. */
import { describe, expect, test } from "vitest";
import type { FileSystem } from "../../src/base/fileSystem.ts";
import { silentLogger } from "../../src/base/logger.ts";
import { replaceFile } from "../../src/base/wholeFile.ts";
import { bringToVersion, readVersion, type Upgrade } from "../../src/server/dataVersion.ts";
import { changed } from "../support/changed.ts";
import { SimulatedFileSystem } from "../support/simulatedFileSystem.ts";

const root = "/data";

/** Writes down what the one before left, and that it was here. */
const step = (name: string): Upgrade => {
  return async (fileSystem, where) => {
    const file = `${where}/steps`;
    const before = (await fileSystem.stat(file)) === undefined ? "" : (await fileSystem.readFile(file)).toString();
    if (!before.includes(name)) await replaceFile(fileSystem, file, Buffer.from(`${before}${name} `));
  };
};
const upgrades = [step("to-2"), step("to-3")];

async function directory(version: string | undefined, seed = 1): Promise<SimulatedFileSystem> {
  const fileSystem = new SimulatedFileSystem({ seed });
  await fileSystem.makeDirectory(root);
  if (version !== undefined) await replaceFile(fileSystem, `${root}/version`, Buffer.from(version));
  return fileSystem;
}

const stepsOf = async (fileSystem: FileSystem): Promise<string> =>
  (await fileSystem.stat(`${root}/steps`)) === undefined ? "" : (await fileSystem.readFile(`${root}/steps`)).toString();

const bring = (fileSystem: FileSystem): Promise<void> => bringToVersion(fileSystem, root, silentLogger, upgrades);

test("a new directory has the release's version, and nothing to upgrade", async () => {
  const fileSystem = await directory(undefined);
  await bring(fileSystem);
  expect([await readVersion(fileSystem, root, 3), await stepsOf(fileSystem)]).toEqual([3, ""]);
});

test("an older one is upgraded step by step, from where it stands, and once", async () => {
  const oldest = await directory("millrace-data 1\n");
  await bring(oldest);
  await bring(oldest);
  expect([await readVersion(oldest, root, 3), await stepsOf(oldest)]).toEqual([3, "to-2 to-3 "]);
  const older = await directory("millrace-data 2\n");
  await bring(older);
  expect([await readVersion(older, root, 3), await stepsOf(older)]).toEqual([3, "to-3 "]);
});

test("after a loss of power at any moment of an upgrade the next start ends it; never does the version say more than was done", async () => {
  let upgraded = false;
  for (let operations = 0; !upgraded; operations++) {
    const disk = await directory("millrace-data 1\n", operations);
    let left = operations;
    const dying = (fileSystem: FileSystem): FileSystem => {
      const next = <A extends unknown[], R>(run: (...args: A) => Promise<R>): ((...args: A) => Promise<R>) => {
        return (...args) => (left-- > 0 ? run(...args) : Promise.reject(new Error("power")));
      };
      return changed(fileSystem, {
        open: next((file, mode) => fileSystem.open(file, mode)),
        rename: next((from, to) => fileSystem.rename(from, to)),
        syncDirectory: next((folder) => fileSystem.syncDirectory(folder)),
      });
    };
    upgraded = await bring(dying(disk)).then(
      () => true,
      () => false,
    );
    const after = disk.crash();
    const version = (await readVersion(after, root, 3)) as number;
    expect((await stepsOf(after)).split(" ").length - 1, `after ${operations} operations`).toBeGreaterThanOrEqual(version - 1);
    await bring(after);
    expect([await readVersion(after, root, 3), await stepsOf(after)]).toEqual([3, "to-2 to-3 "]);
  }
});

describe("is refused", () => {
  test("one with data that lost its version: nobody knows which upgrades it needs", async () => {
    const fileSystem = await directory(undefined);
    await replaceFile(fileSystem, `${root}/catalog`, Buffer.from("topics"));
    await expect(bring(fileSystem)).rejects.toMatchObject({ code: "DATA_VERSION_UNREADABLE", where: `${root}/version` });
    expect(await readVersion(fileSystem, root, 3)).toBeUndefined();
  });

  test.each([
    ["of a newer release", "millrace-data 4\n", "DATA_TOO_NEW"],
    ["that says nothing", "", "DATA_VERSION_UNREADABLE"],
    ["of no release", "millrace-data 0\n", "DATA_VERSION_UNREADABLE"],
  ])("one %s, and nothing is changed", async (_, text, code) => {
    const fileSystem = await directory(text);
    await expect(bring(fileSystem)).rejects.toMatchObject({ code, where: `${root}/version` });
    expect((await fileSystem.readFile(`${root}/version`)).toString()).toBe(text);
    expect(await stepsOf(fileSystem)).toBe("");
  });
});
