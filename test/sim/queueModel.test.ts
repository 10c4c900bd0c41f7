import { expect, test } from "vitest";
import type { Delivery } from "../../src/broker/contract.ts";
import { contentOf, QueueModel } from "./queueModel.ts";

const content = contentOf(7, 20);
const id = 70;

/** A queue with one message that was confirmed. */
function withOne(): QueueModel {
  const queue = new QueueModel("counted", 8);
  const copy = queue.published(7, id, content, true);
  if (copy !== undefined) copy.fate = "kept";
  return queue;
}

test("an id whose message was damaged is in doubt, after any number of starts", () => {
  const queue = withOne();
  queue.started([], false, "was");
  expect(queue.remembers(id)).toBe("unknown");
  queue.started([], false, "none");
  queue.started([], true, "none");
  expect(queue.remembers(id)).toBe("unknown");
});

test("an id whose message is there is remembered after a start", () => {
  const queue = withOne();
  const delivery = { content, offset: 0, redelivered: true } as Delivery;
  queue.started([delivery], false, "none");
  expect(queue.remembers(id)).toBe("yes");
});

test("an id that was not confirmed went with its message", () => {
  const queue = new QueueModel("counted", 8);
  queue.published(7, id, content, true);
  queue.started([], false, "none");
  expect(queue.remembers(id)).toBe("no");
});
