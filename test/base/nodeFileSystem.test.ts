import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { nodeFileSystem } from "../../src/base/nodeFileSystem.ts";

const folder = fs.mkdtempSync(path.join(os.tmpdir(), "millrace-files-"));
afterAll(() => fs.rmSync(folder, { recursive: true }));

describe("making a folder", () => {
  test("makes those above it too, and takes one that is there, also behind a link", async () => {
    const deep = path.join(folder, "a/b/c");
    await Promise.all([nodeFileSystem.makeDirectory(deep), nodeFileSystem.makeDirectory(deep)]);
    expect(fs.statSync(deep).isDirectory()).toBe(true);
    fs.symlinkSync(deep, path.join(folder, "link"));
    await nodeFileSystem.makeDirectory(path.join(folder, "link"));
    await nodeFileSystem.makeDirectory(path.join(folder, "link/d"));
    expect(fs.readdirSync(deep)).toEqual(["d"]);
    await nodeFileSystem.makeDirectory("/");
  });

  test("where none can be made it fails with what the system says", async () => {
    fs.writeFileSync(path.join(folder, "file"), "");
    fs.symlinkSync(path.join(folder, "loop"), path.join(folder, "loop"));
    const codeOf = (name: string): Promise<unknown> =>
      nodeFileSystem.makeDirectory(name).then(
        () => "made",
        (error: NodeJS.ErrnoException) => error.code,
      );
    expect(await codeOf(path.join(folder, "file"))).toBe("EEXIST");
    expect(await codeOf(path.join(folder, "file/below"))).toBe("ENOTDIR");
    expect(await codeOf(path.join(folder, "loop/below"))).toBe("ELOOP");
    // once it tried for ever
    if (process.platform === "linux") expect(await codeOf("/proc/self-not/below")).toBe("ENOENT");
  });
});
