/** What a pipeline's host knows of its files, without running it. */
import fs from "node:fs";
import path from "node:path";
import { expect, test } from "vitest";
import { systemClock } from "../../src/base/clock.ts";
import { silentLogger } from "../../src/base/logger.ts";
import { bundlePipeline } from "../../src/server/bundle.ts";
import { PipelineHost } from "../../src/server/pipelineHost.ts";
import { writePipeline } from "./fixtures.ts";
import { temporaryFolder } from "./support.ts";

function hostOf(file: string, bundleDirectory: string): PipelineHost {
  const run = { serveLog: () => expect.fail("it is not run") } as never;
  return new PipelineHost(file, { clock: systemClock, logger: silentLogger, bundleDirectory, run, claim: () => true });
}

test("a host knows whether a build gives something else than the last one, be it an error", async () => {
  const folder = temporaryFolder();
  const file = writePipeline(folder, "one.ts", "export default 1;");
  const host = hostOf(file, `${folder}/bundles`);
  const tries = [
    ["export default 1;", true],
    ["export default 1;", false],
    ["export default 2;", true],
    ["export default 2;", false],
    ["export default ;", true],
    ["export default ;", false],
    ["\nexport default ;", true],
    ["export default 1;", true],
    ["export default 1;", false],
  ] as const;
  for (const [text, isNew] of tries) {
    writePipeline(folder, "one.ts", text);
    expect([text, await host.buildsOtherwise()]).toEqual([text, isNew]);
  }
});

test("a host names the files that a build read, also one that failed in one of them", async () => {
  const folder = temporaryFolder();
  const file = writePipeline(folder, "one.ts", 'import "./two.ts";');
  const two = writePipeline(folder, "two.ts", "let x = (;");
  const host = hostOf(file, `${folder}/bundles`);
  expect(host.inputs).toEqual([file]);
  expect(await host.buildsOtherwise()).toBe(true);
  expect([...host.inputs].sort()).toEqual([file, two]);
});

test("a host names what is imported before it is there", async () => {
  const folder = temporaryFolder();
  const host = hostOf(writePipeline(folder, "one.ts", 'import "./lib/two.ts";\nimport "../three";'), `${folder}/bundles`);
  await host.buildsOtherwise();
  expect(host.inputs).toEqual(expect.arrayContaining([`${folder}/lib/two.ts`, path.resolve(folder, "../three")]));
});

test("a build that cannot be written is the same failure each time", async () => {
  const folder = temporaryFolder();
  const file = writePipeline(folder, "one.ts", "export default 1;");
  const bundle = await bundlePipeline(file, `${folder}/bundles`);
  fs.rmSync(bundle);
  fs.mkdirSync(bundle); // where nothing can be renamed to
  const host = hostOf(file, `${folder}/bundles`);
  expect(await host.buildsOtherwise()).toBe(true);
  expect(await host.buildsOtherwise()).toBe(false);
});

test("the same code can be built many times at once", async () => {
  const folder = temporaryFolder();
  const file = writePipeline(folder, "one.ts", "export default 1;");
  const built = await Promise.all(Array.from({ length: 20 }, () => bundlePipeline(file, `${folder}/bundles`)));
  expect(new Set(built).size).toBe(1);
});
