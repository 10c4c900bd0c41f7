/** `millrace dev`: what a user who edits a pipeline's files sees. Which changes are seen at all: reload.test.ts. */
import fs from "node:fs";
import { expect, test } from "vitest";
import { untilTrue } from "../support/until.ts";
import { counting, writePipeline } from "./fixtures.ts";
import { type Command, millrace, pipelineOf, temporaryFolder } from "./support.ts";

const developed = (folder: string): Command =>
  millrace(["dev", "counting.ts", "--data", "data", "--listeners.amqp.port", "0", "--checkpoints.interval-ms", "200"], folder);

/** A good one, once it runs. */
async function developing(folder: string): Promise<Command> {
  writePipeline(folder, "counting.ts", counting("counting"));
  const dev = developed(folder);
  await dev.says("npx millrace stop");
  await untilTrue(async () => (await pipelineOf(folder)).state === "running");
  return dev;
}

test("a changed file is reloaded; a broken one leaves the old one running and is said", async () => {
  const folder = temporaryFolder();
  const dev = await developing(folder);
  writePipeline(folder, "counting.ts", `${counting("counting")}\nlet x = (;`);
  await dev.says("pipeline not reloaded");
  expect(dev.err).toMatch(/counting\.ts:\d+:\d+/);
  expect((await pipelineOf(folder)).state).toBe("running");
  writePipeline(folder, "counting.ts", counting("counting").replace("1 min", "1 minuet"));
  await dev.says("DURATION_INVALID");
  expect((await pipelineOf(folder)).state).toBe("running");
  writePipeline(folder, "counting.ts", counting("counting"));
  await dev.says("pipeline file is good again");
  writePipeline(folder, "counting.ts", `${counting("counting")}\nconsole.log("second version");`);
  await dev.says("pipeline reloaded");
  expect((await pipelineOf(folder)).state).toBe("running");
  dev.child.kill("SIGTERM");
  expect((await dev.ended).code).toBe(0);
  expect(dev.out).toContain("second version");
});

test("a broken save while the good one before it is loaded leaves the old one running", async () => {
  const folder = temporaryFolder();
  const dev = await developing(folder);
  // the next save comes while it is loaded
  const loading = `${folder}/loading`;
  const slowly = `fs.writeFileSync(${JSON.stringify(loading)}, "");\nawait new Promise((resolve) => setTimeout(resolve, 700));`;
  writePipeline(folder, "counting.ts", `import fs from "node:fs";\n${slowly}\n${counting("counting")}`);
  await untilTrue(() => fs.existsSync(loading));
  writePipeline(folder, "counting.ts", `${counting("counting")}\nlet x = (;`);
  await dev.says("pipeline not reloaded");
  expect((await pipelineOf(folder)).state).toBe("running");
  writePipeline(folder, "counting.ts", `${counting("counting")}\nconsole.log("third version");`);
  await dev.says("pipeline reloaded");
  expect((await pipelineOf(folder)).state).toBe("running");
});

test("a broken file in another folder is watched too, also when it was broken from the beginning", async () => {
  const folder = temporaryFolder();
  const other = temporaryFolder();
  writePipeline(other, "names.ts", "export const name = ;");
  writePipeline(folder, "counting.ts", `import { name } from "${other}/names.ts";\n${counting("counting")}\nconsole.log(name);`);
  const dev = developed(folder);
  await dev.says("pipeline failed");
  expect(dev.err).toContain(`${other}/names.ts:1:21`);
  writePipeline(other, "names.ts", 'export const name = "first";');
  await dev.says("pipeline reloaded");
  expect((await pipelineOf(folder)).state).toBe("running");
});

test("a file that never ends loading is not waited for when it is saved again, nor at the end", async () => {
  const folder = temporaryFolder();
  const dev = await developing(folder);
  const saveEndless = async (loading: string): Promise<void> => {
    const endless = `fs.writeFileSync(${JSON.stringify(loading)}, "");\nawait new Promise((resolve) => setInterval(() => false, 1000));`;
    writePipeline(folder, "counting.ts", `import fs from "node:fs";\n${endless}\n${counting("counting")}`);
    await untilTrue(() => fs.existsSync(loading));
  };
  await saveEndless(`${folder}/loading`);
  writePipeline(folder, "counting.ts", `${counting("counting")}\nconsole.log("second version");`);
  await dev.says("pipeline reloaded");
  await saveEndless(`${folder}/loading-again`);
  expect((await pipelineOf(folder)).state).toBe("running");
  dev.child.kill("SIGTERM");
  expect((await dev.ended).code).toBe(0);
  expect(dev.out).toContain("second version");
  expect(dev.err).not.toContain("not reloaded");
});
