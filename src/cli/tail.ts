import { setTimeout as sleep } from "node:timers/promises";
import { MillraceError } from "../base/errors.ts";
import { nodeFileSystem } from "../base/nodeFileSystem.ts";
import type { Flag } from "../config/settings.ts";
import { PartitionTail, type TailStart, topicFolders } from "../log/tools/tailLog.ts";
import type { StoredRecord } from "../record/record.ts";
import { layoutOf } from "../server/dataDirectory.ts";
import { readVersion } from "../server/dataVersion.ts";
import { readConfiguration } from "./configuration.ts";
import { ExitCode } from "./exitCodes.ts";
import { noTopics } from "./noTopics.ts";
import { shownBytes, shownHeaders, storedHeaders } from "./shownHeaders.ts";
import { hasReader, printData, sayError } from "./terminal.ts";

export interface TailOptions {
  readonly topic: string;
  readonly file: string | undefined;
  readonly flags: readonly Flag[];
  /** undefined: all of them. */
  readonly partition: number | undefined;
  readonly start: TailStart;
  /** undefined: up to the end. */
  readonly count: number | undefined;
  /** Waits at the end for what comes. */
  readonly follow: boolean;
  /** Headers as they are stored. */
  readonly raw: boolean;
}

const followEveryMs = 200;

/** A line of JSON for each record, partition after partition. Of what is damaged it tells beside, and goes on; it then ends as failed. */
export async function tail({ topic, file, flags, partition, start, count, follow, raw }: TailOptions): Promise<number> {
  const { root, topics } = layoutOf(readConfiguration({ file, flags }).data);
  await readVersion(nodeFileSystem, root);
  if ((await nodeFileSystem.stat(topics)) === undefined)
    throw noTopics(topics, "Name the node's data directory with --data, or its file with --config.");
  const folders = await topicFolders(nodeFileSystem, topics, topic);
  const wanted = [...folders].filter(([number]) => partition === undefined || number === partition);
  if (wanted.length === 0) throw noPartition(topic, folders.size);
  let exitCode: number = ExitCode.done;
  const damaged = (hole: MillraceError): void => {
    sayError(hole);
    exitCode = ExitCode.failed;
  };
  const tails = wanted.map(([number, folder]) => ({ number, tail: new PartitionTail(nodeFileSystem, folder, start, damaged) }));
  let left = count ?? Number.POSITIVE_INFINITY;
  for (;;) {
    for (const { number, tail } of tails) {
      if (left <= 0) return exitCode;
      await tail.read((record) => {
        left = printData(lineOf(number, record, raw)) ? left - 1 : 0;
        return left > 0;
      });
    }
    if (!follow || left <= 0 || !hasReader()) return exitCode;
    await sleep(followEveryMs);
  }
}

function lineOf(partition: number, { offset, timestamp, key, headers, value }: StoredRecord, raw: boolean): string {
  const time = new Date(timestamp);
  return JSON.stringify({
    partition,
    offset,
    timestamp: Number.isNaN(time.getTime()) ? timestamp : time.toISOString(),
    key: shownBytes(key),
    ...(raw ? storedHeaders(headers) : shownHeaders(headers)),
    value: shownBytes(value),
  });
}

const noPartition = (topic: string, count: number): MillraceError =>
  new MillraceError("PARTITION_NOT_FOUND", `The topic '${topic}' has ${count} partitions, from 0 on.`, {
    domain: "user",
    hint: "Name one of them with --partition, or leave it out for all.",
  });
