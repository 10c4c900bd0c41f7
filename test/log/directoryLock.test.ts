import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { describe, expect, test } from "vitest";
import { nodeFileSystem } from "../../src/base/nodeFileSystem.ts";
import { type DirectoryLock, lockDirectory, readLock } from "../../src/log/directoryLock.ts";
import { nodeProcesses, type ProcessTable } from "../../src/log/processTable.ts";
import { SimulatedFileSystem } from "../support/simulatedFileSystem.ts";

const directory = "/data";

/** Processes as numbers that live until they are killed; a pid that comes again has another identity. */
class Processes {
  private readonly running = new Map<number, string>();
  private started = 0;

  start(pid: number): ProcessTable {
    this.running.set(pid, `start ${this.started++}`);
    return { ownPid: pid, identity: async (asked) => this.running.get(asked) };
  }

  kill(pid: number): void {
    this.running.delete(pid);
  }
}

const pause = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Every third one is so slow that a lock stays empty until others take it for stale. */
async function fresh(seed: number): Promise<SimulatedFileSystem> {
  const fs = new SimulatedFileSystem({ seed, turnsMax: seed % 3 === 0 ? 60 : 2 });
  await fs.makeDirectory(directory);
  return fs;
}

describe("directory lock", () => {
  test("the second process is told who has the directory, and gets it after the first let go", async () => {
    const fileSystem = await fresh(1);
    const processes = new Processes();
    const second = { fileSystem, directory, pause, processes: processes.start(200) };
    const lock = await lockDirectory({ fileSystem, directory, pause, processes: processes.start(100) }, { controlSocket: "/tmp/a" });
    await expect(lockDirectory(second)).rejects.toMatchObject({
      code: "DATA_DIRECTORY_LOCKED",
      message: expect.stringContaining("process 100") as string,
      where: directory,
    });
    expect(await readLock(second)).toEqual({ pid: 100, info: { controlSocket: "/tmp/a" } });
    await lock.setInfo({ controlSocket: "/tmp/b" });
    expect(await readLock(second)).toEqual({ pid: 100, info: { controlSocket: "/tmp/b" } });
    await lock.release();
    expect(await readLock(second)).toBeUndefined();
    await lockDirectory(second);
  });

  test("a later process with the same pid doesn't keep a dead one's lock alive", async () => {
    const fileSystem = await fresh(1);
    const processes = new Processes();
    await lockDirectory({ fileSystem, directory, pause, processes: processes.start(100) });
    processes.kill(100);
    processes.start(100);
    await lockDirectory({ fileSystem, directory, pause, processes: processes.start(200) });
  });

  test("a damaged lock is taken over, whatever is in it", async () => {
    const damaged = [
      "null",
      "17",
      '"text"',
      "[]",
      "{}",
      '{"pid":100}',
      '{"pid":"100","identity":"start 0"}',
      '{"pid":1e999,"identity":"x"}',
    ];
    for (const content of [...damaged, "", "{", "\0\0\0\0"]) {
      const fs = await fresh(1);
      const file = await fs.open(`${directory}/millrace.lock.7`, "create");
      await file.write(Buffer.from(content), 0, content.length, 0);
      await file.close();
      const options = { fileSystem: fs, directory, pause, processes: new Processes().start(100) };
      expect(await readLock(options), content).toBeUndefined();
      const lock = await lockDirectory(options);
      expect(await fs.list(directory)).toEqual(["millrace.lock.8"]);
      expect(await readLock(options)).toEqual({ pid: 100, info: {} });
      await lock.release();
    }
  });

  test("of many that start at once exactly one wins, also over a dead one's lock and one that died while it made its own", async () => {
    for (let seed = 0; seed < 100; seed++) {
      const fs = await fresh(seed);
      const processes = new Processes();
      if (seed % 4 > 0) await lockDirectory({ fileSystem: fs, directory, pause, processes: processes.start(1) });
      if (seed % 4 > 1) await (await fs.open(`${directory}/millrace.lock.2`, "create")).close();
      processes.kill(1);
      const starters = Array.from({ length: 4 }, (_, n) =>
        lockDirectory({ fileSystem: fs, directory, pause, processes: processes.start(100 + n) }),
      );
      const results = await Promise.allSettled(starters);
      expect(results.filter(({ status }) => status === "fulfilled").length, `seed ${seed}`).toBe(1);
      expect((await fs.list(directory)).length, `seed ${seed}`).toBe(1);
    }
  });

  test("starters that come, hold it for a while, die or let go: never two at once", async () => {
    for (let seed = 0; seed < 40; seed++) {
      const fs = await fresh(seed);
      const processes = new Processes();
      let holders = 0;
      const live = async (pid: number): Promise<void> => {
        for (let turn = 0; turn < 6; turn++) {
          const own = processes.start(pid);
          let lock: DirectoryLock;
          try {
            lock = await lockDirectory({ fileSystem: fs, directory, pause, processes: own });
          } catch (error) {
            expect(error).toMatchObject({ code: "DATA_DIRECTORY_LOCKED" });
            continue;
          }
          expect(++holders, `seed ${seed}`).toBe(1);
          await pause();
          holders--;
          if ((turn + seed) % 2 === 0) await lock.release();
          else processes.kill(pid);
        }
        processes.kill(pid);
      };
      await Promise.all([live(1), live(2), live(3)]);
    }
  });

  test("a process that was killed with SIGKILL, on the real file system", async () => {
    const folder = await mkdtemp(path.join(tmpdir(), "millrace-lock-"));
    try {
      const child = spawn(process.execPath, ["-e", "setInterval(() => {}, 1000)"], { stdio: "ignore" });
      await once(child, "spawn");
      const options = { fileSystem: nodeFileSystem, directory: folder };
      await lockDirectory({ ...options, processes: { ...nodeProcesses, ownPid: child.pid as number } });
      expect(await readLock(options)).toMatchObject({ pid: child.pid });
      await expect(lockDirectory(options)).rejects.toMatchObject({ code: "DATA_DIRECTORY_LOCKED" });
      child.kill("SIGKILL");
      await once(child, "exit");
      const lock = await lockDirectory(options);
      await expect(lockDirectory(options)).rejects.toMatchObject({ message: expect.stringContaining(`${process.pid}`) as string });
      await lock.release();
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});
