/** Which changes of a pipeline's files are seen while it is developed. The pipeline is a fake, so that a change can come at any moment. */
import fs from "node:fs";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { silentLogger } from "../../src/base/logger.ts";
import { type Reloadable, reloadOnChange } from "../../src/server/reload.ts";
import { untilTrue } from "../support/until.ts";
import { cleanUp, temporaryFolder } from "./support.ts";

/** As an editor does it. */
function save(file: string, text: string): void {
  fs.writeFileSync(`${file}.new`, text);
  fs.renameSync(`${file}.new`, file);
}

/** A pipeline of a few files. `built` is what its builds said, and `afterBuild` comes before anybody knows of the build. */
class FakePipeline implements Reloadable {
  readonly built: string[] = [];
  afterBuild: (() => void | Promise<void>) | undefined;
  state: "running" | "failed" = "running";
  overtaken = 0;

  constructor(
    readonly file: string,
    readonly inputs: readonly string[] = [file],
  ) {
    this.build();
  }

  async reload(): Promise<"replaced"> {
    this.build();
    const { afterBuild } = this;
    this.afterBuild = undefined;
    await afterBuild?.();
    if (this.built.at(-1)?.includes("broken")) throw new Error("it is broken");
    return "replaced";
  }

  async buildsOtherwise(): Promise<boolean> {
    return this.text() !== this.built.at(-1);
  }

  overtake(): void {
    this.overtaken++;
  }

  status() {
    return { name: "fake", state: this.state };
  }

  private build(): void {
    this.built.push(this.text());
  }

  /** Of all files in its folder. */
  private text(): string {
    const folder = path.dirname(this.file);
    const names = fs.existsSync(folder) ? fs.readdirSync(folder).filter((name) => name.endsWith(".ts")) : [];
    return names.map((name) => fs.readFileSync(path.join(folder, name), "utf8")).join(" ") || "none";
  }
}

function onePipeline(folder: string): FakePipeline {
  save(`${folder}/one.ts`, "first");
  return new FakePipeline(`${folder}/one.ts`);
}

const watched = (one: FakePipeline): void => cleanUp(reloadOnChange([one], silentLogger));

function watchedPipeline(folder = temporaryFolder()): FakePipeline {
  const one = onePipeline(folder);
  watched(one);
  return one;
}

test("a change is built", async () => {
  const one = watchedPipeline();
  save(one.file, "second");
  await untilTrue(() => one.built.at(-1) === "second");
});

test("a change at the moment at which the change before it has been built is built too", async () => {
  const one = watchedPipeline();
  one.afterBuild = () => save(one.file, "third");
  save(one.file, "second");
  await untilTrue(() => one.built.at(-1) === "third");
  expect(one.built).toEqual(["first", "second", "third"]);
});

test("a change before anybody watches is built", async () => {
  const one = onePipeline(temporaryFolder());
  save(one.file, "second");
  watched(one);
  await untilTrue(() => one.built.at(-1) === "second");
});

test("a change while the one before it is built and started is built once", async () => {
  const one = watchedPipeline();
  one.afterBuild = async () => {
    save(one.file, "third");
    await sleep(300); // longer than a save takes to settle
  };
  save(one.file, "second");
  await untilTrue(() => one.built.at(-1) === "third");
  await sleep(300);
  expect(one.built).toEqual(["first", "second", "third"]);
  expect(one.overtaken).toBeGreaterThan(0); // nobody waited for the second one to load
});

test("a mended file is built although another one beside it is written all the time", async () => {
  const one = watchedPipeline();
  save(one.file, "broken");
  await untilTrue(() => one.built.at(-1) === "broken");
  const writing = setInterval(() => fs.writeFileSync(`${path.dirname(one.file)}/log.txt`, ""), 20);
  cleanUp(() => clearInterval(writing));
  save(one.file, "mended");
  await untilTrue(() => one.built.at(-1) === "mended");
});

test("a file that a broken one waits for is seen when it comes", async () => {
  const one = watchedPipeline();
  save(one.file, "broken");
  await untilTrue(() => one.built.at(-1) === "broken");
  save(`${path.dirname(one.file)}/two.ts`, "import");
  await untilTrue(() => one.built.at(-1) === "broken import");
});

test("so is one that was broken from the beginning", async () => {
  const one = onePipeline(temporaryFolder());
  one.state = "failed";
  watched(one);
  await sleep(50);
  save(`${path.dirname(one.file)}/two.ts`, "import");
  await untilTrue(() => one.built.at(-1) === "first import");
});

test("of a folder that is moved away the one in its place is watched", async () => {
  const folder = `${temporaryFolder()}/lib`;
  fs.mkdirSync(folder);
  const one = watchedPipeline(folder);
  fs.renameSync(folder, `${folder}.old`);
  fs.cpSync(`${folder}.old`, folder, { recursive: true });
  await untilTrue(() => one.built.length > 1); // it looks again
  save(one.file, "second");
  await untilTrue(() => one.built.at(-1) === "second");
});

test("a folder that goes and comes back, as with another branch, is watched again", async () => {
  const folder = `${temporaryFolder()}/lib`;
  fs.mkdirSync(folder);
  const one = watchedPipeline(folder);
  fs.rmSync(folder, { recursive: true });
  await untilTrue(() => one.built.at(-1) === "none");
  fs.mkdirSync(folder);
  save(one.file, "second");
  await untilTrue(() => one.built.at(-1) === "second");
});
