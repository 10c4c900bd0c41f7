/** Confirms against what the publisher may conclude from them. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { MillraceError } from "../../../src/base/errors.ts";
import { Confirms } from "../../../src/protocol/amqp/confirms.ts";
import type { Receipt } from "../../../src/record/receipt.ts";

const failure = new MillraceError("JOURNAL_FAILED", "no", { domain: "external" });

/** Writes down every ack and nack as a publisher reads it: which tags it answers. */
class AnswerLog {
  readonly answers: { tag: number; how: "ack" | "nack" }[] = [];
  private readonly frames: Buffer[] = [];
  bytes: Buffer = Buffer.alloc(0);

  reserve(count: number): number {
    this.bytes = Buffer.alloc(count);
    this.frames.push(this.bytes);
    return 0;
  }

  read(): void {
    for (const frame of this.frames.splice(0)) {
      const how = frame.readUInt16BE(9) === 80 ? "ack" : "nack";
      const tag = Number(frame.readBigUInt64BE(11));
      const next = this.answers.length + 1;
      // a single one answers just the next tag, a multiple one everything up to its tag
      expect(tag).toBeGreaterThanOrEqual(next);
      if (frame[19] === 0) expect(tag).toBe(next);
      for (let each = next; each <= tag; each++) this.answers.push({ tag: each, how });
    }
  }
}

interface Turn {
  readonly first: number;
  readonly last: number;
  readonly receipt: Receipt | undefined;
}

const step = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant("turn" as const),
      publishes: fc.integer({ min: 1, max: 5 }),
      joins: fc.boolean(),
      refused: fc.boolean(),
    }),
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("settle" as const), which: fc.nat(), fails: fc.integer({ min: 0, max: 4 }) }) },
);

test("every tag is answered once and in order; none before it is durable; exactly the failed ones are refused", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const log = new AnswerLog();
      let failures = 0;
      const confirms = new Confirms(
        1,
        log,
        () => undefined,
        () => failures++,
      );
      /** What each tag's answer must be; undefined: it is not settled. */
      const truth: ("ack" | "nack" | undefined)[] = [undefined];
      const open: Turn[] = [];
      const settle = (turn: Turn, fails: boolean): void => {
        turn.receipt?.leave(fails ? failure : undefined);
        for (let tag = turn.first; tag <= turn.last; tag++) truth[tag] = fails ? "nack" : "ack";
      };
      const check = (): void => {
        confirms.flush();
        log.read();
        const settledThrough = truth.findIndex((how, tag) => tag > 0 && how === undefined);
        expect(log.answers.length).toBe((settledThrough === -1 ? truth.length : settledThrough) - 1);
        for (const { tag, how } of log.answers) expect([tag, how]).toEqual([tag, truth[tag]]);
      };
      for (const step of steps) {
        if (step.kind === "settle") {
          const [turn] = open.splice(step.which % Math.max(1, open.length), 1);
          if (turn !== undefined) settle(turn, step.fails === 0);
        } else {
          const first = truth.length;
          let receipt: Receipt | undefined;
          for (let i = 0; i < step.publishes; i++) {
            receipt = confirms.next();
            truth.push(undefined);
          }
          if (step.joins) receipt?.join();
          const turn = { first, last: truth.length - 1, receipt };
          if (step.refused) {
            confirms.next();
            confirms.refuseLast();
            truth.push("nack");
          }
          confirms.sealTurn();
          if (step.joins) open.push(turn);
          else for (let tag = turn.first; tag <= turn.last; tag++) truth[tag] = "ack";
        }
        check();
      }
      for (const turn of open) settle(turn, false);
      check();
      expect(confirms.pending).toBe(false);
    }),
    { numRuns: 500 },
  );
});

const ignore = (): void => undefined;

test("what is durable at the same time is confirmed with one frame", () => {
  const log = new AnswerLog();
  const confirms = new Confirms(1, log, ignore, ignore);
  let frames = 0;
  const reserve = log.reserve.bind(log);
  log.reserve = (count) => {
    frames++;
    return reserve(count);
  };
  const receipts = Array.from({ length: 5 }, () => {
    const receipt = confirms.next();
    receipt.join();
    confirms.sealTurn();
    return receipt;
  });
  for (const receipt of receipts.toReversed()) receipt.leave();
  confirms.flush();
  log.read();
  expect([frames, log.answers.length]).toEqual([1, 5]);
});
