import { isDeepStrictEqual } from "node:util";
import { MillraceError } from "../../base/errors.ts";
import type { TaskStep } from "../contract/host.ts";
import type { Pipeline } from "../pipeline.ts";
import { type Action, Crash, type DeadRecord, Session } from "./session.ts";

/** Where a run crashes at each record: before its checkpoint begins, or at a step of it. */
const moments = ["processed", "prepared", "checkpointed", "committing", "committed"] as const satisfies readonly (TaskStep | "processed")[];
type Moment = (typeof moments)[number];

/** What is visible after each action, by sink; the dead records as one of them. */
type Visible = ReadonlyMap<string, readonly unknown[]>;

/**
 * Does everything again, one record and one checkpoint at a time: once without a crash, then for each moment with a crash and a restart
 * at every record. What is visible after each must be the same.
 */
export async function compareWithCrashes(pipeline: Pipeline, partitions: number, actions: readonly Action[]): Promise<void> {
  const reference: Visible[] = [];
  await run(pipeline, partitions, actions, undefined, (visible) => {
    reference.push(visible);
  });
  for (const moment of moments) {
    await run(pipeline, partitions, actions, moment, (visible, index) => {
      const before = reference[index - 1];
      for (const [sink, wanted] of reference[index] as Visible) {
        const shown = before?.get(sink)?.length ?? 0; // compared earlier
        const got = visible.get(sink) ?? [];
        if (isDeepStrictEqual(got.slice(shown), wanted.slice(shown))) continue;
        throw difference(moment, actions[index] as Action, index, sink, got.slice(shown), wanted.slice(shown));
      }
    });
  }
}

async function run(
  pipeline: Pipeline,
  partitions: number,
  actions: readonly Action[],
  crashAt: Moment | undefined,
  seen: (visible: Visible, index: number) => void,
): Promise<void> {
  const session = new Session(pipeline, partitions);
  await session.open();
  for (const [index, action] of actions.entries()) {
    if (action.kind === "record") await session.append(action);
    if (crashAt === undefined) await finish(session, action);
    else await finishWithCrash(session, action, crashAt);
    const visible = new Map<string, readonly unknown[]>(session.capture.ids.map((id) => [id, [...session.rows(id)]]));
    visible.set("dead records", session.dead.map(withoutMessage));
    seen(visible, index);
  }
  await session.close();
}

/** A message has a stack, which varies. */
const withoutMessage = (record: DeadRecord): DeadRecord => ({ ...record, message: "" });

async function finish(session: Session, action: Action): Promise<void> {
  await session.takeIn();
  if (action.kind === "watermark") await session.advanceTo(action.to);
  await session.settle();
}

async function finishWithCrash(session: Session, action: Action, moment: Moment): Promise<void> {
  if (moment === "processed") {
    await session.takeIn();
    if (action.kind === "watermark") await session.advanceTo(action.to);
  } else {
    session.armCrash(moment);
    try {
      await finish(session, action);
    } catch (error) {
      if (!(error instanceof Crash)) throw error;
    }
  }
  await session.crash();
  await finish(session, action);
}

function difference(
  moment: Moment,
  action: Action,
  index: number,
  sink: string,
  got: readonly unknown[],
  wanted: readonly unknown[],
): MillraceError {
  const at = action.kind === "record" ? `record ${action.shown}` : `the watermark ${new Date(action.to).toISOString()}`;
  return new MillraceError(
    "CRASH_CHANGES_RESULT",
    `With a crash (${moment}) at each record the result differs, first at ${at}: '${sink}' got ${JSON.stringify(got)} instead of ${JSON.stringify(wanted)}.`,
    {
      domain: "user",
      where: `step ${index + 1} of what was sent`,
      hint: "A stock operator that keeps state (scan, distinct, take, bufferCount, pairwise) forgets it in a crash: use an operator of the engine.",
    },
  );
}
