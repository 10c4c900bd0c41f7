import fs from "node:fs";
import path from "node:path";
import { expect, test } from "vitest";
import { dotted, environmentName, flagName } from "../../src/config/names.ts";
import { nodeConfig } from "../../src/config/nodeConfig.ts";
import { leavesOf, metaOf } from "../../src/config/schemaTree.ts";
import { topicProperties } from "../../src/log/contract/topicProperties.ts";

const page = fs.readFileSync(path.resolve(import.meta.dirname, "../../docs/configuration.md"), "utf8");
const leaves = leavesOf(nodeConfig);

test("docs/configuration.md has a line for every key, and none for a key that is not there", () => {
  const keys = page.slice(page.indexOf("## All keys"), page.indexOf("## Topics"));
  const rows = [...keys.matchAll(/^\| `([a-z0-9.-]+)` \|/gm)].map((match) => match[1]);
  expect(rows).toEqual(leaves.map((leaf) => dotted(leaf.path)));
});

test("docs/configuration.md has a line for every property of a topic, with the key of its default", () => {
  const rows = [...page.matchAll(/^\| `([a-z.]+)` \| `([a-z.-]+)` \|$/gm)].map((match) => [match[1], match[2]]);
  const keyOf = (kafkaName: string): string => `log.${kafkaName.replaceAll(".", "-")}`;
  expect(rows).toEqual(Object.values(topicProperties).map(({ kafkaName }) => [kafkaName, keyOf(kafkaName)]));
  const keys = leaves.map((leaf) => dotted(leaf.path));
  for (const [, key] of rows) expect(keys).toContain(key);
});

test("every key says what it is", () => {
  expect(leaves.filter((leaf) => metaOf(leaf.schema).description === undefined).map((leaf) => dotted(leaf.path))).toEqual([]);
});

test("no two keys have the same flag or the same variable", () => {
  for (const nameOf of [flagName, environmentName]) {
    const names = leaves.map((leaf) => nameOf(leaf.path));
    expect(new Set(names).size).toBe(names.length);
  }
});
