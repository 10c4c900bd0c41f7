/** Reads a topic's records from its files, as they lie there: no node is needed, and one that runs is not disturbed. Changes nothing. */
import path from "node:path";
import { MillraceError } from "../../base/errors.ts";
import type { FileSystem } from "../../base/fileSystem.ts";
import { attributesAt, BatchAttribute, batchBytesAt, lastOffsetAt } from "../../record/batchHeader.ts";
import type { StoredRecord } from "../../record/record.ts";
import { RecordCursor } from "../../record/recordCursor.ts";
import { type BatchPlace, clearPlaceBehind } from "../embedded/segment/behindDamage.ts";
import { type OffsetRange, offsetsBehind } from "../embedded/segment/lookalikes.ts";
import { baseOffsetsOf, folderFor, logFileName, partitionFolder } from "../embedded/segment/names.ts";
import { scanSegment } from "../embedded/segment/segmentScan.ts";

/** Where to begin in each partition. `last`: that many records before the end, or fewer. */
export type TailStart =
  | { readonly at: "beginning" }
  | { readonly at: "last"; readonly records: number }
  | { readonly at: "offset"; readonly offset: number }
  | { readonly at: "timestamp"; readonly timestamp: number };

/** The folders of a topic's partitions in the log's directory, by partition. */
export async function topicFolders(fileSystem: FileSystem, directory: string, topic: string): Promise<ReadonlyMap<number, string>> {
  const names = await fileSystem.list(directory);
  // a name that differs from another topic's only by case has a folder that is named by an id
  const candidates = [folderFor(topic, new Set([topic.toLowerCase()])), folderFor(topic, new Set())];
  for (const folder of candidates) {
    const found = new Map<number, string>();
    for (let partition = 0; names.includes(partitionFolder(folder, partition)); partition++)
      found.set(partition, path.join(directory, partitionFolder(folder, partition)));
    if (found.size > 0) return found;
  }
  const topics = new Set(names.flatMap((name) => /^([^~].*)-\d+$/.exec(name)?.[1] ?? []));
  throw new MillraceError("TOPIC_NOT_FOUND", `There is no topic '${topic}' here.`, {
    domain: "user",
    where: directory,
    hint: topics.size === 0 ? "Name the node's data directory with --data." : `The topics here are: ${[...topics].toSorted().join(", ")}.`,
  });
}

/** One partition, read forward; at its end it can be asked again later. */
export class PartitionTail {
  /** The segment and the byte in it to go on at; undefined: nothing was read yet. */
  private place: { readonly base: number; readonly position: number } | undefined;
  private nextOffset = 0;
  private afterTimestamp = Number.NEGATIVE_INFINITY;

  constructor(
    private readonly fileSystem: FileSystem,
    private readonly folder: string,
    private readonly start: TailStart,
  ) {}

  /** Gives `take` the records that are there now; it says false when it has enough. A batch that is not whole yet is left for later. */
  async read(take: (record: StoredRecord) => boolean): Promise<void> {
    const bases = baseOffsetsOf(await this.fileSystem.list(this.folder));
    if (this.place === undefined) await this.begin(bases);
    const from = this.place?.base ?? 0;
    for (const base of bases.filter((base) => base >= from)) {
      const position = base === this.place?.base ? this.place.position : 0;
      const nextBase = bases.find((other) => other > base);
      if (!(await this.readSegment(base, position, nextBase, take))) return;
    }
  }

  private async begin(bases: readonly number[]): Promise<void> {
    if (this.start.at === "timestamp") this.afterTimestamp = this.start.timestamp;
    if (this.start.at === "offset") this.nextOffset = this.start.offset;
    if (this.start.at === "last") this.nextOffset = Math.max(0, (await this.end(bases)) - this.start.records);
    const base = bases.findLast((one) => one <= this.nextOffset) ?? bases[0];
    if (base !== undefined) this.place = { base, position: 0 };
  }

  private async end(bases: readonly number[]): Promise<number> {
    const base = bases.at(-1);
    if (base === undefined) return 0;
    let end = base;
    await this.scan(base, 0, false, (bytes, at) => {
      end = lastOffsetAt(bytes, at) + 1;
      return undefined;
    });
    return end;
  }

  /** @param nextBase undefined: it is the last one. */
  private async readSegment(
    base: number,
    from: number,
    nextBase: number | undefined,
    take: (record: StoredRecord) => boolean,
  ): Promise<boolean> {
    let goOn = true;
    let offset = base;
    const { end, bytes, problem } = await this.scan(base, from, true, (buffer, at) => {
      offset = lastOffsetAt(buffer, at) + 1;
      if (lastOffsetAt(buffer, at) >= this.nextOffset) goOn = this.readBatch(buffer, at, take);
      return goOn ? undefined : "stop";
    });
    this.place = { base, position: end };
    const isDamaged = end < bytes && problem !== undefined && !(nextBase === undefined && problem.code === "BATCH_TRUNCATED");
    if (!goOn || !isDamaged) return goOn;
    const behind = await this.behind(base, end, bytes, offsetsBehind(offset, base, nextBase));
    if (behind === undefined || this.nextOffset < behind.offset) {
      throw damaged(path.join(this.folder, logFileName(base)), end, problem, behind?.offset);
    }
    return this.readSegment(base, behind.position, nextBase, take);
  }

  private readBatch(bytes: Buffer, at: number, take: (record: StoredRecord) => boolean): boolean {
    const attributes = attributesAt(bytes, at);
    if ((attributes & BatchAttribute.control) !== 0) return true;
    if ((attributes & BatchAttribute.codecMask) !== 0) throw compressed(this.folder, lastOffsetAt(bytes, at));
    const cursor = new RecordCursor(bytes, at, at + batchBytesAt(bytes, at));
    while (cursor.next()) {
      const record = cursor.record();
      if (record.offset < this.nextOffset || record.timestamp < this.afterTimestamp) continue;
      this.afterTimestamp = Number.NEGATIVE_INFINITY; // the first one that is not earlier is where it begins
      this.nextOffset = record.offset + 1;
      if (!take(record)) return false;
    }
    return true;
  }

  private async behind(base: number, bad: number, bytes: number, offsets: OffsetRange): Promise<BatchPlace | undefined> {
    const file = await this.fileSystem.open(path.join(this.folder, logFileName(base)), "read");
    try {
      return await clearPlaceBehind(file, bad, bytes, offsets);
    } finally {
      await file.close();
    }
  }

  private async scan(base: number, from: number, checksums: boolean, visit: Parameters<typeof scanSegment>[4]) {
    const file = await this.fileSystem.open(path.join(this.folder, logFileName(base)), "read");
    try {
      const bytes = await file.bytes();
      return { bytes, ...(await scanSegment(file, from, bytes, checksums, visit)) };
    } finally {
      await file.close();
    }
  }
}

const damaged = (file: string, position: number, cause: MillraceError, readableFrom: number | undefined): MillraceError =>
  new MillraceError("LOG_CORRUPT", "A batch is damaged.", {
    domain: "external",
    where: `${file} at byte ${position}`,
    hint: `millrace log verify says what is damaged.${readableFrom === undefined ? "" : ` Begin behind it with --offset ${readableFrom}.`}`,
    readableFrom,
    cause,
  });

const compressed = (folder: string, offset: number): MillraceError =>
  new MillraceError("BATCH_COMPRESSED", "The records up to here are compressed; they cannot be shown yet.", {
    domain: "user",
    where: `${folder} at offset ${offset}`,
    hint: "Begin behind them with --offset.",
  });
