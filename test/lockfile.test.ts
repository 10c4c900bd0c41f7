import { readFile } from "node:fs/promises";
import { expect, it } from "vitest";

interface Locked {
  readonly version: string;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
}

const lock = JSON.parse(await readFile(new URL("../package-lock.json", import.meta.url), "utf8")) as { packages: Record<string, Locked> };

// npm leaves the binaries of other platforms out of the lock when it is written where they cannot be had. `npm ci` then refuses the
// lock ("Missing: ... from lock file"), or installs nothing that runs on those platforms.
it("the lock file knows the native packages of every platform, not only of the one it was written on", () => {
  const missing = Object.entries(lock.packages).flatMap(([at, { optionalDependencies = {} }]) =>
    Object.keys(optionalDependencies)
      .filter((name) => lock.packages[`node_modules/${name}`] === undefined && lock.packages[`${at}/node_modules/${name}`] === undefined)
      .map((name) => `${name}, of ${at}`),
  );
  expect(Object.keys(lock.packages).length).toBeGreaterThan(100);
  expect(missing).toEqual([]);
});
