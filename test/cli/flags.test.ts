import { expect, test } from "vitest";
import { takeConfigFlags } from "../../src/cli/flags.ts";

const plain = new Set(["--data"]);

test("flags with a dot, and those of the configuration's top, are taken out; the rest is the command's", () => {
  const args = ["start", "--log.segment-bytes", "4096", "--config", "m.yaml", "--data=./d", "--drain"];
  expect(takeConfigFlags(args, plain)).toEqual({
    flags: [
      { name: "--log.segment-bytes", value: "4096" },
      { name: "--data", value: "./d" },
    ],
    rest: ["start", "--config", "m.yaml", "--drain"],
  });
});

test("a flag without a value means yes", () => {
  expect(takeConfigFlags(["--a.b", "--c.d", "x", "--e.f"], plain).flags).toEqual([
    { name: "--a.b", value: "true" },
    { name: "--c.d", value: "x" },
    { name: "--e.f", value: "true" },
  ]);
});

test("a value may begin with one dash and hold an equals sign", () => {
  expect(takeConfigFlags(["--a.b", "-5", "--c.d=x=y"], plain).flags).toEqual([
    { name: "--a.b", value: "-5" },
    { name: "--c.d", value: "x=y" },
  ]);
});

test("nothing behind -- is a flag", () => {
  expect(takeConfigFlags(["dev", "--", "--a.b", "c"], plain)).toEqual({ flags: [], rest: ["dev", "--", "--a.b", "c"] });
});
