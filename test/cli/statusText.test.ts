import { describe, expect, test } from "vitest";
import { statusText } from "../../src/cli/statusText.ts";
import type { NodeStatus } from "../../src/server/status.ts";

const nodeWith = (journal: NodeStatus["broker"]["journal"]): NodeStatus => ({
  version: "1.2.3",
  pid: 42,
  data: "/data",
  state: "running",
  addresses: { amqp: "amqp://127.0.0.1:5672" },
  connections: 0,
  broker: { exchanges: 5, journal, queues: [], topics: [] },
  pipelineTopics: [],
  pipelines: [],
});

describe("an operator sees", () => {
  test("nothing of the journal while all is well", () => {
    expect(statusText(nodeWith({ refused: undefined, failures: 0, damagedEntries: 0 }))).toBe(
      "millrace 1.2.3, process 42, running\namqp://127.0.0.1:5672, 0 connections\n/data",
    );
  });

  test("why publishers are refused, which writes failed and what was damaged", () => {
    const text = statusText(nodeWith({ refused: "JOURNAL_FULL", failures: 3, damagedEntries: 7 }));
    expect(text).toMatch(/take no messages now: JOURNAL_FULL[^]*failed since the start: 3[^]*passed over: 7/);
  });
});
