import { describe, expect, test } from "vitest";
import { statusText } from "../../src/cli/statusText.ts";
import type { NodeStatus } from "../../src/server/status.ts";

const nodeWith = (journal: NodeStatus["broker"]["journal"], pipelines: NodeStatus["pipelines"] = []): NodeStatus => ({
  version: "1.2.3",
  pid: 42,
  data: "/data",
  state: "running",
  addresses: { amqp: "amqp://127.0.0.1:5672" },
  connections: 0,
  broker: { exchanges: 5, journal, queues: [], topics: [] },
  pipelineTopics: [],
  refusing: { count: 0, first: [] },
  pipelines,
});

describe("an operator sees", () => {
  test("nothing of the journal while all is well", () => {
    expect(statusText(nodeWith({ refused: undefined, failures: 0, damagedEntries: 0 }))).toBe(
      "millrace 1.2.3, process 42, running\namqp://127.0.0.1:5672, 0 connections\n/data",
    );
  });

  test("why a pipeline failed: what, where, because of what, and what to do", () => {
    const error = {
      code: "CHECKPOINT_AHEAD_OF_LOG",
      message: "It has read further than the log reaches.",
      domain: "user" as const,
      retryable: false,
      where: "flights-2, offset 1001",
      hint: "Rename the pipeline.",
      because: "the log was cut",
    };
    const pipelines = [{ name: "hourly", file: "hourly.ts", state: "failed" as const, restarts: 0, error, task: undefined }];
    expect(statusText(nodeWith({ refused: undefined, failures: 0, damagedEntries: 0 }, pipelines))).toMatch(
      /\nhourly: CHECKPOINT_AHEAD_OF_LOG: It has .*\n {2}at flights-2, offset 1001\n {2}because the log was cut\n {2}Rename the pipeline\.$/,
    );
  });

  test("why publishers are refused, which writes failed and what was damaged", () => {
    const text = statusText(nodeWith({ refused: "JOURNAL_FULL", failures: 3, damagedEntries: 7 }));
    expect(text).toMatch(/take no messages now: JOURNAL_FULL[^]*failed since the start: 3[^]*passed over: 7/);
  });

  test("which partitions take nothing and why, those of one reason together, and how many more there are", () => {
    const full = {
      code: "LOG_DISK_FULL",
      message: "The disk has 5 bytes left; nothing is appended.",
      domain: "external" as const,
      retryable: true,
      where: "/data/topics",
      hint: "Make room.",
    };
    const damaged = { ...full, code: "LOG_CORRUPT", message: "A batch is damaged.", where: "/data/topics/u-1/0.log at byte 7" };
    const first = [
      { partition: "t-0", ...full },
      { partition: "t-1", ...full },
      { partition: "u-1", ...damaged },
    ];
    const node = { ...nodeWith({ refused: undefined, failures: 0, damagedEntries: 0 }), refusing: { count: 1003, first } };
    expect(statusText(node).split("\n\n").at(-1)).toBe(
      [
        "partitions that take nothing now: 1003",
        "t-0, t-1: LOG_DISK_FULL: The disk has 5 bytes left; nothing is appended.",
        "  at /data/topics",
        "  Make room.",
        "u-1: LOG_CORRUPT: A batch is damaged.",
        "  at /data/topics/u-1/0.log at byte 7",
        "  Make room.",
        "and 1000 more",
      ].join("\n"),
    );
  });
});
