import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { z } from "zod";
import { MillraceError } from "../../src/base/errors.ts";
import { type ConfigSources, loadConfig } from "../../src/config/load.ts";
import type { ConfigError } from "../../src/config/problem.ts";

const schema = z.strictObject({
  data: z.string().meta({ path: true }).default("./here"),
  log: z
    .strictObject({
      segmentBytes: z.int().min(1024).describe("a segment rolls before it passes this size").default(4096),
      flushMs: z.number().default(10),
      sync: z.enum(["always", "never"]).default("always"),
    })
    .prefault({}),
  listeners: z.strictObject({ amqp: z.strictObject({ port: z.int().max(65535).default(5672) }).prefault({}) }).prefault({}),
  pipelines: z.array(z.string().meta({ path: true })).default([]),
  users: z.array(z.strictObject({ name: z.string(), password: z.string().meta({ secret: true }) })).default([]),
});

const folder = fs.mkdtempSync(path.join(os.tmpdir(), "millrace-config-"));
afterAll(() => fs.rmSync(folder, { recursive: true }));

const load = (sources: Partial<ConfigSources>) => loadConfig(schema, { workingDirectory: "/work-here", ...sources });
const file = (text: string) => ({ path: "conf/millrace.yaml", text });

function refusal(sources: Partial<ConfigSources>): ConfigError {
  try {
    load(sources);
  } catch (error) {
    expect(error).toBeInstanceOf(MillraceError);
    return error as ConfigError;
  }
  throw new Error("it was taken");
}

describe("precedence", () => {
  const text = "log:\n  segment-bytes: 2048\n  flush-ms: 2\n";

  test("flag over environment over file over default", () => {
    const environment = { MILLRACE_LOG_SEGMENT_BYTES: "3000", MILLRACE_LISTENERS_AMQP_PORT: "1000", PATH: "/bin" };
    const config = load({ file: file(text), environment, flags: [{ name: "--log.segment-bytes", value: "5000" }] });
    expect(config.log).toEqual({ segmentBytes: 5000, flushMs: 2, sync: "always" });
    expect(config.listeners.amqp.port).toBe(1000);
    expect(load({ file: file(text), environment }).log.segmentBytes).toBe(3000);
    expect(load({ file: file(text) }).log.segmentBytes).toBe(2048);
    expect(load({}).log.segmentBytes).toBe(4096);
  });

  test("options of the caller are below the file", () => {
    expect(load({ options: { log: { segmentBytes: 9999, flushMs: 7 } }, file: file("log: { segment-bytes: 2048 }") }).log).toMatchObject({
      segmentBytes: 2048,
      flushMs: 7,
    });
  });

  test("a section without a value is as if it were not there", () => {
    expect(load({ file: file("log:\n") }).log.segmentBytes).toBe(4096);
  });

  test("the result is frozen all the way down", () => {
    const config = load({ file: file("pipelines: [a.ts]") });
    for (const part of [config, config.log, config.listeners.amqp, config.pipelines]) expect(Object.isFrozen(part)).toBe(true);
  });
});

describe("values", () => {
  test("sizes and times take units", () => {
    const config = load({ file: file("log: { segment-bytes: 64 MiB, flush-ms: 1.5 s }") });
    expect(config.log).toMatchObject({ segmentBytes: 64 * 1024 * 1024, flushMs: 1500 });
  });

  test("a flag of a list takes commas", () => {
    expect(load({ flags: [{ name: "--pipelines", value: "a.ts, b.ts" }] }).pipelines).toEqual(["/work-here/a.ts", "/work-here/b.ts"]);
  });

  test("a relative path counts from where it was said", () => {
    const sources = { file: file("data: ./d\npipelines: [p.ts]") };
    expect(load(sources)).toMatchObject({ data: "/work-here/conf/d", pipelines: ["/work-here/conf/p.ts"] });
    expect(load({ ...sources, environment: { MILLRACE_DATA: "./d" } }).data).toBe("/work-here/d");
    expect(load({}).data).toBe("/work-here/here");
  });

  test("a text that looks like a number stays a text where a text is wanted", () => {
    expect(load({ environment: { MILLRACE_DATA: "/123" } }).data).toBe("/123");
  });

  test("a secret comes from a file, without the line end", () => {
    fs.writeFileSync(path.join(folder, "secret"), "swordfish\n");
    const yaml = { path: path.join(folder, "millrace.yaml"), text: "users: [{ name: ann, password-file: ./secret }]" };
    expect(load({ file: yaml }).users).toEqual([{ name: "ann", password: "swordfish" }]);
  });

  test("a secret that is there twice, itself and as a file, is refused", () => {
    const error = refusal({ file: file("users: [{ name: ann, password: a, password-file: ./secret }]") });
    expect(error).toMatchObject({
      code: "CONFIG_INVALID",
      where: "conf/millrace.yaml:1:50",
      message: "'users.0.password-file' and 'users.0.password' are both there",
    });
  });

  test("a secret's file that cannot be read is said", () => {
    const error = refusal({ file: file("users: [{ name: ann, password-file: ./nowhere }]") });
    expect(error).toMatchObject({ code: "CONFIG_UNREADABLE", where: "/work-here/conf/nowhere" });
  });
});

describe("what is refused", () => {
  const cases: [string, Partial<ConfigSources>, { code: string; where: string; says: RegExp }][] = [
    [
      "an unknown key, with the nearest known one",
      { file: file("data: ./d\nlog: {}\nlistners: {}\n") },
      { code: "CONFIG_UNKNOWN_KEY", where: "conf/millrace.yaml:3:1", says: /unknown key 'listners'; did you mean 'listeners'\?/ },
    ],
    [
      "the file's key in another spelling",
      { file: file("log:\n  segmentBytes: 2048\n") },
      { code: "CONFIG_UNKNOWN_KEY", where: "conf/millrace.yaml:2:3", says: /'log.segmentBytes'; did you mean 'segment-bytes'\?/ },
    ],
    [
      "a key that belongs deeper down",
      { file: file("port: 5672\n") },
      { code: "CONFIG_UNKNOWN_KEY", where: "conf/millrace.yaml:1:1", says: /did you mean 'listeners.amqp.port'\?/ },
    ],
    [
      "an unknown key in a list",
      { file: file("users:\n  - name: ann\n    pasword: x\n") },
      { code: "CONFIG_UNKNOWN_KEY", where: "conf/millrace.yaml:3:5", says: /'users.0.pasword'; did you mean 'password'\?/ },
    ],
    [
      "a key that is like no other",
      { file: file("zebra: 1\n") },
      { code: "CONFIG_UNKNOWN_KEY", where: "conf/millrace.yaml:1:1", says: /unknown key 'zebra'$/ },
    ],
    [
      "a short key that is like no other",
      { file: file("foo: 1\n") },
      { code: "CONFIG_UNKNOWN_KEY", where: "conf/millrace.yaml:1:1", says: /unknown key 'foo'$/ },
    ],
    [
      "an unknown variable",
      { environment: { MILLRACE_LOG_SEGMENTBYTES: "1" } },
      { code: "CONFIG_UNKNOWN_KEY", where: "the environment", says: /did you mean 'MILLRACE_LOG_SEGMENT_BYTES'\?/ },
    ],
    [
      "an unknown flag",
      { flags: [{ name: "--log.segment-byte", value: "1" }] },
      { code: "CONFIG_UNKNOWN_KEY", where: "--log.segment-byte", says: /did you mean '--log.segment-bytes'\?/ },
    ],
    [
      "an unknown option of the caller",
      { options: { dta: "x" } },
      { code: "CONFIG_UNKNOWN_KEY", where: "the options", says: /did you mean 'data'\?/ },
    ],
    [
      "a value of another type",
      { file: file("log:\n  segment-bytes: lots\n") },
      { code: "CONFIG_INVALID", where: "conf/millrace.yaml:2:18", says: /'log.segment-bytes': .*expected number/ },
    ],
    [
      "something missing, at the nearest thing that is there",
      { file: file("users:\n  - name: ann\n") },
      { code: "CONFIG_INVALID", where: "conf/millrace.yaml:2:5", says: /'users.0.password': it is missing/ },
    ],
    [
      "a value out of range, in the variable that said it",
      { file: file("log: { segment-bytes: 2048 }"), environment: { MILLRACE_LOG_SEGMENT_BYTES: "5" } },
      { code: "CONFIG_INVALID", where: "the environment variable MILLRACE_LOG_SEGMENT_BYTES", says: />=1024/ },
    ],
    [
      "a value out of range, in the flag that said it",
      { flags: [{ name: "--listeners.amqp.port", value: "99999" }] },
      { code: "CONFIG_INVALID", where: "--listeners.amqp.port", says: /<=65535/ },
    ],
    [
      "YAML that is none",
      { file: file("data: ./d\nlog: {segment-bytes: 1\n") },
      { code: "CONFIG_UNREADABLE", where: "conf/millrace.yaml:3:1", says: /not valid YAML/ },
    ],
    ["a key twice", { file: file("data: a\ndata: b\n") }, { code: "CONFIG_UNREADABLE", where: "conf/millrace.yaml:2:1", says: /unique/ }],
    [
      "a file that is a list",
      { file: file("- a\n- b\n") },
      { code: "CONFIG_INVALID", where: "conf/millrace.yaml:1:1", says: /not a set of keys/ },
    ],
  ];

  test.each(cases)("%s", (_, sources, expected) => {
    const error = refusal(sources);
    expect(error.message).toMatch(expected.says);
    expect(error).toMatchObject({ code: expected.code, where: expected.where, domain: "user" });
  });

  test("all problems are said at once", () => {
    const error = refusal({ file: file("log: { segment-bytes: x, flush-ms: y }") });
    expect(error.others).toHaveLength(1);
    expect(error.toText()).toMatch(/segment-bytes[^]*flush-ms/);
  });

  test("an unknown key does not hide a bad value, and what is only misspelled is not missing as well", () => {
    const error = refusal({ file: file("log: { segment-bytes: x }\nusers:\n  - { name: ann, pasword: p }\n") });
    expect(error.others).toHaveLength(1);
    expect(error.toText()).toMatch(/did you mean 'password'[^]*'log.segment-bytes': .*expected number/);
  });

  test("what the key means and which units it may have is said with it", () => {
    expect(refusal({ file: file("log: { segment-bytes: x }") }).hint).toBe(
      "It means: a segment rolls before it passes this size. Write a number, or one with a unit: B, KiB, MiB, GiB, TiB, kB, MB, GB, TB.",
    );
  });
});
