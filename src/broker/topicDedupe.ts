import { MillraceError } from "../base/errors.ts";
import type { PartitionedLog, PartitionReader } from "../log/contract/partitionedLog.ts";
import { endOffsetOf, records } from "../record/batch.ts";
import type { DedupeLimit } from "./dedupeWindow.ts";
import { messageIdHeader, type TopicQueue } from "./topicQueue.ts";

const readBytes = 1024 * 1024;
const firstSpan = 16_384;

interface Found {
  readonly id: string;
  readonly offset: number;
  readonly timestamp: number;
}

/** Fills a topic's windows of message-ids from the end of each partition. */
export async function recoverTopicDedupe(
  log: Pick<PartitionedLog, "openReader">,
  queue: TopicQueue,
  now: number,
  idsMax: number,
): Promise<void> {
  const { dedupe } = queue.settings;
  if (dedupe === undefined) return;
  for (const descriptor of queue.topic.description.partitions) {
    const reader = await log.openReader(descriptor);
    try {
      const window = queue.windows[descriptor.partition];
      for (const { id, offset, timestamp } of await lastIds(reader, dedupe, now, idsMax)) {
        if (window?.find(id, timestamp) === undefined) window?.remember(id, offset, timestamp);
      }
    } finally {
      await reader.close();
    }
  }
}

/** Nobody counts by subtraction, so: from a guess to the end, and from further back if that was not enough. */
async function lastIds(reader: PartitionReader, limit: DedupeLimit, now: number, idsMax: number): Promise<Found[]> {
  const most = limit.kind === "count" ? Math.min(limit.idsMax, idsMax) : idsMax;
  const since = limit.kind === "time" ? now - limit.ms : Number.NEGATIVE_INFINITY;
  const start = reader.startOffset();
  const end = reader.highWatermark();
  for (let span = limit.kind === "count" ? most : firstSpan; ; span *= 2) {
    const from = Math.max(start, end - span);
    const { found, firstTimestamp } = await idsFrom(reader, from, end, most);
    if (from > start && found.length < most && firstTimestamp >= since) continue;
    return found.filter(({ timestamp }) => timestamp >= since);
  }
}

/** At most the last `most` of them: a window by time may be longer than anybody can remember. */
async function idsFrom(
  reader: PartitionReader,
  from: number,
  end: number,
  most: number,
): Promise<{ readonly found: Found[]; readonly firstTimestamp: number }> {
  let found: Found[] = [];
  let firstTimestamp = Number.POSITIVE_INFINITY;
  let bytes: Buffer | undefined;
  for (let next = from; next < end; ) {
    try {
      bytes = await reader.read(next, readBytes, bytes);
    } catch (error) {
      // the ids that were in it are forgotten: no reason for a node not to start
      if (!(error instanceof MillraceError) || error.code !== "LOG_CORRUPT") throw error;
      next = error.readableFrom ?? end;
      bytes = undefined;
      continue;
    }
    if (bytes.length === 0) break;
    next = endOffsetOf(bytes) ?? end;
    for (const record of records(bytes)) {
      firstTimestamp = Math.min(firstTimestamp, record.timestamp);
      const id = record.headers.find((header) => header.key === messageIdHeader)?.value;
      if (id) found.push({ id: Buffer.from(id).toString(), offset: record.offset, timestamp: record.timestamp });
    }
    if (found.length > most * 2) found = found.slice(-most);
  }
  return { found: found.slice(-most), firstTimestamp };
}
