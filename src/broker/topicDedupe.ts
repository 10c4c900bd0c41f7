import type { PartitionedLog, PartitionReader } from "../log/contract/partitionedLog.ts";
import { records } from "../record/batch.ts";
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
export async function recoverTopicDedupe(log: PartitionedLog, queue: TopicQueue, now: number): Promise<void> {
  const { dedupe } = queue.settings;
  if (dedupe === undefined) return;
  for (const descriptor of queue.topic.description.partitions) {
    const reader = await log.openReader(descriptor);
    try {
      const window = queue.windows[descriptor.partition];
      for (const { id, offset, timestamp } of await lastIds(reader, dedupe, now)) {
        if (window?.find(id, timestamp) === undefined) window?.remember(id, offset, timestamp);
      }
    } finally {
      await reader.close();
    }
  }
}

/** Nobody counts by subtraction, so: from a guess to the end, and from further back if that was not enough. */
async function lastIds(reader: PartitionReader, limit: DedupeLimit, now: number): Promise<Found[]> {
  const start = reader.startOffset();
  const end = reader.highWatermark();
  for (let span = limit.kind === "count" ? limit.idsMax : firstSpan; ; span *= 2) {
    const from = Math.max(start, end - span);
    const { found, firstTimestamp } = await idsFrom(reader, from, end);
    const enough = limit.kind === "count" ? found.length >= limit.idsMax : firstTimestamp < now - limit.ms;
    if (!enough && from > start) continue;
    return limit.kind === "count" ? found.slice(-limit.idsMax) : found.filter(({ timestamp }) => timestamp >= now - limit.ms);
  }
}

async function idsFrom(
  reader: PartitionReader,
  from: number,
  end: number,
): Promise<{ readonly found: Found[]; readonly firstTimestamp: number }> {
  const found: Found[] = [];
  let firstTimestamp = Number.POSITIVE_INFINITY;
  for (let next = from; next < end; ) {
    const bytes = await reader.read(next, readBytes);
    if (bytes.length === 0) break;
    for (const record of records(bytes)) {
      next = Math.max(next, record.offset + 1);
      firstTimestamp = Math.min(firstTimestamp, record.timestamp);
      const id = record.headers.find((header) => header.key === messageIdHeader)?.value;
      if (id) found.push({ id: Buffer.from(id).toString(), offset: record.offset, timestamp: record.timestamp });
    }
  }
  return { found, firstTimestamp };
}
