import { expect, test } from "vitest";
import { openEmbeddedLog } from "../../src/log/embedded/embeddedLog.ts";
import { SimulatedFileSystem } from "../support/simulatedFileSystem.ts";
import { appendOneByOne, openWithTopic, producer, readAll, record, smallDefaults } from "./support.ts";

test("what a start shows after a failed sync and a kill outlives a loss of power, although the page cache had it only", async () => {
  for (let seed = 1; seed <= 20; seed++) {
    for (const kind of ["always", "never"] as const) {
      let fileSystem = new SimulatedFileSystem({ seed, forgottenStaysCached: true });
      const defaults = { ...smallDefaults, sync: { kind } };
      const { log, options } = await openWithTopic({ fileSystem, directory: "/data", defaults });
      await appendOneByOne(log, ["before", "too"]);
      await log.sync("t");
      // it is killed before it can cut the file
      fileSystem.failNext({ op: "truncate", code: "EIO", path: ".log", times: Number.POSITIVE_INFINITY });
      fileSystem.failNext({ op: "sync", code: "EIO", path: ".log" });
      const inFlight = Array.from({ length: 5 }, (_, i) => log.append(producer, "t", 0, 2 + i, [record(`in flight ${i}`)]));
      if (kind === "never") await Promise.all(inFlight);
      const failed = kind === "never" ? log.sync("t") : Promise.any(inFlight);
      await expect(failed).rejects.toThrow();
      fileSystem = fileSystem.kill();
      const second = await openEmbeddedLog({ ...options, fileSystem });
      const shown = await readAll(second);
      expect(shown.length, `seed ${seed}`).toBeGreaterThan(2);
      fileSystem = fileSystem.crash();
      const third = await openEmbeddedLog({ ...options, fileSystem });
      expect(await readAll(third), `seed ${seed}`).toEqual(shown);
      await appendOneByOne(third, ["after"], shown.length);
      await third.close();
    }
  }
});
