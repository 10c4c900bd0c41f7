import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterAll, describe, expect, test, vi } from "vitest";
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

describe("a write that is synced", () => {
  const linuxTest = test.runIf(process.platform === "linux");
  /** O_DSYNC, in octal as the system tells the flags of a descriptor. */
  const syncedFlag = 0o10000;
  /** The descriptors on a file, with their flags. */
  const descriptorsOf = (name: string): number[] =>
    fs.readdirSync("/proc/self/fd").flatMap((fd) => {
      try {
        if (fs.readlinkSync(`/proc/self/fd/${fd}`) !== name) return [];
        return [Number.parseInt(/flags:\s*(\d+)/.exec(fs.readFileSync(`/proc/self/fdinfo/${fd}`, "utf8"))?.[1] ?? "", 8)];
      } catch {
        return []; // the descriptor that reads the list
      }
    });

  test("writes where it is told to, beside plain ones, also in a file that has another name by now", async () => {
    const [from, to] = [path.join(folder, "making"), path.join(folder, "made")];
    const file = await nodeFileSystem.open(from, "create");
    await file.write(Buffer.from("0123456789"), 0, 10, 0);
    await nodeFileSystem.rename(from, to);
    const letters = Buffer.from("abcdefgh");
    await Promise.all([file.writeSynced(letters, 0, 2, 2), file.writeSynced(letters, 2, 2, 6)]);
    await file.writeSynced(letters, 4, 4, 10);
    await file.write(letters, 0, 1, 0);
    expect(fs.readFileSync(to, "utf8")).toBe("a1ab45cd89efgh");
    await file.close();
  });

  linuxTest("goes to a descriptor that syncs, one a file, closed with it", async () => {
    const name = path.join(folder, "synced");
    const file = await nodeFileSystem.open(name, "create");
    await file.write(Buffer.from("x"), 0, 1, 0);
    expect(descriptorsOf(name).map((flags) => flags & syncedFlag)).toEqual([0]);
    await Promise.all([file.writeSynced(Buffer.from("y"), 0, 1, 1), file.writeSynced(Buffer.from("z"), 0, 1, 2)]);
    await file.writeSynced(Buffer.from("!"), 0, 1, 3);
    expect(
      descriptorsOf(name)
        .map((flags) => flags & syncedFlag)
        .sort(),
    ).toEqual([0, syncedFlag]);
    await file.close();
    expect(descriptorsOf(name)).toEqual([]);
  });

  linuxTest("begins before it returns, but for the first", async () => {
    const name = path.join(folder, "begun");
    const file = await nodeFileSystem.open(name, "create");
    await file.writeSynced(Buffer.from("first"), 0, 5, 0);
    const written = file.writeSynced(Buffer.from("second"), 0, 6, 5);
    // nothing else runs in this thread meanwhile
    for (let n = 0; n < 1_000_000 && fs.statSync(name).size < 11; n++);
    expect(fs.statSync(name).size).toBe(11);
    await written;
    await file.close();
  });

  test("is refused by a file that is open for reading, as any write is", async () => {
    const name = path.join(folder, "readable");
    fs.writeFileSync(name, "as it was");
    const file = await nodeFileSystem.open(name, "read");
    await expect(file.writeSynced(Buffer.from("x"), 0, 1, 0)).rejects.toMatchObject({ code: "EBADF" });
    await file.close();
    expect(fs.readFileSync(name, "utf8")).toBe("as it was");
  });

  linuxTest("is written and then synced where no other descriptor can be had", async () => {
    const name = path.join(folder, "without");
    const file = await nodeFileSystem.open(name, "create");
    vi.spyOn(fs, "open").mockImplementation(((_path, _flags, done) =>
      (done as (error: Error) => void)(new Error("EMFILE"))) as typeof fs.open);
    const sync = vi.spyOn(fs, "fdatasync");
    try {
      await file.writeSynced(Buffer.from("first"), 0, 5, 0);
      await file.writeSynced(Buffer.from("second"), 0, 6, 5);
      expect(sync).toHaveBeenCalledTimes(2);
    } finally {
      vi.restoreAllMocks();
    }
    expect(fs.readFileSync(name, "utf8")).toBe("firstsecond");
    await file.close();
  });
});
