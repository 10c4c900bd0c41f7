import { expect, test } from "vitest";
import { MillraceError } from "../../src/base/errors.ts";
import { LineLogger } from "../../src/server/logging.ts";
import { millrace, temporaryFolder } from "./support.ts";

test("lines for people: what varies stands behind, errors say where and what to do, below the level nothing", () => {
  const lines: string[] = [];
  const logger = new LineLogger("info", {}, false, (line) => lines.push(line)).child({ pipeline: "hourly" });
  logger.debug("unseen");
  logger.info("reloaded", { offset: 7n, at: { partition: 1 } });
  logger.error("failed", { error: new MillraceError("DISK_FULL", "no space", { domain: "external", where: "/data", hint: "Make room." }) });
  expect(lines[0]).toMatch(/^\d\d:\d\d:\d\d\.\d{3} info {2}reloaded pipeline=hourly offset=7 at=\{"partition":1\}\n$/);
  expect(lines[1]).toMatch(/error failed pipeline=hourly\n +DISK_FULL: no space\n +at \/data\n +Make room\.\n$/);
  expect(lines).toHaveLength(2);
});

test("JSON for programs: an error's code and place are fields", async () => {
  const folder = temporaryFolder();
  const args = ["dev", "gone.ts", "--data", "data", "--listeners.amqp.port", "0", "--logging.format", "json"];
  const dev = millrace(args, folder);
  await dev.says("npx millrace stop");
  const logged = dev.err.split("\n").flatMap((line) => (line.startsWith("{") ? [JSON.parse(line) as Record<string, unknown>] : []));
  expect(logged).toContainEqual(
    expect.objectContaining({
      msg: "pipeline failed",
      level: 50,
      error: expect.objectContaining({ code: "PIPELINE_INVALID", where: `${folder}/gone.ts` }) as object,
    }),
  );
});
