/** Which changes of a pipeline's files are seen while it is developed. The pipeline is a fake, so that a change can come at any moment. */
import fs from "node:fs";
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

/** A pipeline of one file. `built` is what its builds said, and `afterBuild` comes before anybody knows of the build. */
class OneFile implements Reloadable {
  readonly built: string[] = [];
  readonly inputs: readonly string[];
  afterBuild: (() => void) | undefined;

  constructor(readonly file: string) {
    this.inputs = [file];
    this.build();
  }

  async reload(): Promise<"replaced"> {
    this.build();
    const { afterBuild } = this;
    this.afterBuild = undefined;
    afterBuild?.();
    return "replaced";
  }

  async buildsOtherwise(): Promise<boolean> {
    return this.text() !== this.built.at(-1);
  }

  status(): { name: string } {
    return { name: "fake" };
  }

  private build(): void {
    this.built.push(this.text());
  }

  private text(): string {
    return fs.existsSync(this.file) ? fs.readFileSync(this.file, "utf8") : "none";
  }
}

function onePipeline(folder: string): OneFile {
  save(`${folder}/one.ts`, "first");
  return new OneFile(`${folder}/one.ts`);
}

const watched = (one: OneFile): void => cleanUp(reloadOnChange([one], silentLogger));

test("a change is built", async () => {
  const one = onePipeline(temporaryFolder());
  watched(one);
  save(one.file, "second");
  await untilTrue(() => one.built.at(-1) === "second");
});

test("a change at the moment at which the change before it has been built is built too", async () => {
  const one = onePipeline(temporaryFolder());
  watched(one);
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

test("a folder that goes and comes back, as with another branch, is watched again", async () => {
  const folder = `${temporaryFolder()}/lib`;
  fs.mkdirSync(folder);
  const one = onePipeline(folder);
  watched(one);
  fs.rmSync(folder, { recursive: true });
  await untilTrue(() => one.built.at(-1) === "none");
  fs.mkdirSync(folder);
  save(one.file, "second");
  await untilTrue(() => one.built.at(-1) === "second");
});
