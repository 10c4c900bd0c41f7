import { expect, test } from "vitest";
import type { StoredRecord } from "../../src/record/record.ts";
import { type Appended, type Ended, PartitionModel, valueOf } from "./partitionModel.ts";

const moment = { ms: 0, turn: 0 };
const killed: Ended = { powerLost: false, at: moment, saidCut: () => false };

function sent(model: PartitionModel, base?: number): Appended {
  const append: Appended = {
    id: 7,
    values: [valueOf(7, 0, 20)],
    timestamps: [0],
    isStamped: false,
    sequenced: { producer: "named", epoch: 0, firstSequence: 0 },
    base,
    fate: "open",
    unclear: false,
    durable: false,
    keptAt: moment,
    timesCut: 0,
  };
  model.sent(append);
  return append;
}

const found: StoredRecord = { offset: 0, timestamp: 0, key: null, value: valueOf(7, 0, 20), headers: [] };

/** What a start that finds it says to it. */
function startFinds(model: PartitionModel): () => void {
  return () => model.started([found], 0, 1, killed);
}

const partition = (): PartitionModel => new PartitionModel("never-0", { kind: "never" });

test("what was refused and is there is a violation, also where the partition was cut back meanwhile", () => {
  const model = partition();
  const append = sent(model, 0);
  model.cut(0);
  model.failed(append, "refused");
  expect(startFinds(model)).toThrow("was refused and is there");
});

test("what failed, is sent again and refused may be there", () => {
  const model = partition();
  const append = sent(model);
  model.failed(append, "unknown");
  model.sentAgain(append);
  model.failed(append, "refused");
  expect(startFinds(model)).not.toThrow();
});

test("what was refused, is sent again and refused is not there", () => {
  const model = partition();
  const append = sent(model);
  model.failed(append, "refused");
  model.sentAgain(append);
  model.failed(append, "refused");
  expect(startFinds(model)).toThrow("was refused and is there");
});

test("what was confirmed without its offset may be there, if a try after it is refused while the partition is cut back", () => {
  const model = partition();
  const append = sent(model);
  model.kept(append, moment);
  model.sentAgain(append);
  model.cut(1);
  model.failed(append, "refused");
  expect(startFinds(model)).not.toThrow();
});

test("what is under way may be there, if a try beside it is refused before it is answered", () => {
  const model = partition();
  const append = sent(model);
  model.sentAgain(append);
  model.failed(append, "refused");
  expect(startFinds(model)).not.toThrow();
});

test("what is sent again after a cut, and confirmed, may not be lost; what was sent before it and is confirmed only then may", () => {
  const model = partition();
  const append = sent(model, 0);
  model.cut(0);
  model.failed(append, "refused");
  model.sentAgain(append);
  model.answered(append, 0, moment, append.timesCut);
  expect(() => model.started([], 0, 0, killed)).toThrow("is lost without a loss of power");

  const other = partition();
  const waiting = sent(other, 0);
  const { timesCut } = waiting;
  other.cut(0);
  other.answered(waiting, undefined, moment, timesCut);
  expect(() => other.started([], 0, 0, killed)).not.toThrow();
});

test("with `always` what was confirmed is there, whatever was cut", () => {
  const model = new PartitionModel("always-0", { kind: "always" });
  const append = sent(model);
  const { timesCut } = append;
  model.cut(1);
  model.answered(append, 0, moment, timesCut);
  expect(() => model.started([], 0, 0, { ...killed, powerLost: true })).toThrow("is lost, and was surely on the disk");
});
