/** Reads a topic's records from its files, as they lie there: no node is needed, and one that runs is not disturbed. Changes nothing. */
import path from "node:path";
import { MillraceError } from "../../base/errors.ts";
import type { File, FileSystem } from "../../base/fileSystem.ts";
import { attributesAt, BatchAttribute, batchBytesAt, lastOffsetAt } from "../../record/batchHeader.ts";
import type { StoredRecord } from "../../record/record.ts";
import { RecordCursor } from "../../record/recordCursor.ts";
import { clearPlaceBehind } from "../embedded/segment/behindDamage.ts";
import { scanPastDamage } from "../embedded/segment/damagedScan.ts";
import { offsetsBehind, SearchBudget } from "../embedded/segment/lookalikes.ts";
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

/** A segment, the byte in it to go on at, and the lowest offset that may be there. */
interface Place {
  readonly base: number;
  readonly position: number;
  readonly offset: number;
}

/** One partition, read forward; at its end it can be asked again later. */
export class PartitionTail {
  /** Undefined: nothing was read yet. */
  private place: Place | undefined;
  private nextOffset = 0;
  private afterTimestamp = Number.NEGATIVE_INFINITY;

  /** @param damaged is told of each hole among what is to be read; it goes on behind it. */
  constructor(
    private readonly fileSystem: FileSystem,
    private readonly folder: string,
    private readonly start: TailStart,
    private readonly damaged: (hole: MillraceError) => void,
  ) {}

  /**
   * Gives `take` the records that are there now; it says false when it has enough. A batch that is not whole yet is left for later. Throws
   * LOG_CORRUPT at bad bytes with nothing behind them.
   */
  async read(take: (record: StoredRecord) => boolean): Promise<void> {
    const bases = baseOffsetsOf(await this.fileSystem.list(this.folder));
    if (this.place === undefined) await this.begin(bases);
    const from = this.place?.base ?? 0;
    for (const base of bases.filter((base) => base >= from)) {
      const place = base === this.place?.base ? this.place : beginOf(base);
      const nextBase = bases.find((other) => other > base);
      if (!(await this.withSegment(base, (file, bytes) => this.readSegment(file, bytes, place, nextBase, take)))) return;
    }
  }

  private async begin(bases: readonly number[]): Promise<void> {
    if (this.start.at === "timestamp") this.afterTimestamp = this.start.timestamp;
    if (this.start.at === "offset") this.nextOffset = this.start.offset;
    if (this.start.at === "last") this.nextOffset = Math.max(0, (await this.end(bases)) - this.start.records);
    const base = bases.findLast((one) => one <= this.nextOffset) ?? bases[0];
    if (base !== undefined) this.place = beginOf(base);
  }

  private async end(bases: readonly number[]): Promise<number> {
    const base = bases.at(-1);
    if (base === undefined) return 0;
    let end = base;
    await this.withSegment(base, (file, to) =>
      scanPastDamage(
        file,
        { from: 0, to, baseOffset: base, fromOffset: base, beforeOffset: Number.POSITIVE_INFINITY },
        false,
        (bytes, at) => {
          end = lastOffsetAt(bytes, at) + 1;
        },
        () => undefined, // it is said when it is read
      ),
    );
    return end;
  }

  /** @param nextBase undefined: it is the last one. */
  private async readSegment(
    file: File,
    bytes: number,
    from: Place,
    nextBase: number | undefined,
    take: (record: StoredRecord) => boolean,
  ): Promise<boolean> {
    const { base } = from;
    const budget = new SearchBudget(bytes);
    for (let place = from; ; ) {
      let goOn = true;
      let { offset } = place;
      const { end, problem } = await scanSegment(file, place.position, bytes, true, (buffer, at) => {
        if (lastOffsetAt(buffer, at) >= this.nextOffset) goOn = this.readBatch(buffer, at, take);
        if (!goOn) return "stop";
        offset = lastOffsetAt(buffer, at) + 1;
        return undefined;
      });
      this.place = { base, position: end, offset };
      if (!goOn || problem === undefined) return goOn;
      const behind = await clearPlaceBehind(file, end, bytes, offsetsBehind(offset, base, nextBase), budget);
      // whoever writes it is not done yet
      if (behind === undefined && nextBase === undefined && problem.code === "BATCH_TRUNCATED") return true;
      const where = `${path.join(this.folder, logFileName(base))} at byte ${end}`;
      const goesOnAt = behind?.offset ?? nextBase;
      if (goesOnAt === undefined) throw damagedEnd(where, problem);
      if (offset < goesOnAt && this.nextOffset < goesOnAt) this.damaged(hole(where, problem, offset, goesOnAt));
      if (behind === undefined) return true;
      place = { base, ...behind };
    }
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

  private async withSegment<T>(base: number, use: (file: File, bytes: number) => Promise<T>): Promise<T> {
    const file = await this.fileSystem.open(path.join(this.folder, logFileName(base)), "read");
    try {
      return await use(file, await file.bytes());
    } finally {
      await file.close();
    }
  }
}

const beginOf = (base: number): Place => ({ base, position: 0, offset: base });

const hole = (where: string, cause: MillraceError, from: number, readableFrom: number): MillraceError =>
  new MillraceError("LOG_CORRUPT", `Offsets ${from} to ${readableFrom - 1} are damaged.`, {
    domain: "external",
    where,
    hint: `millrace log verify says what is damaged. It goes on with offset ${readableFrom}.`,
    readableFrom,
    cause,
  });

const damagedEnd = (where: string, cause: MillraceError): MillraceError =>
  new MillraceError("LOG_CORRUPT", "A batch is damaged, and none is behind it.", {
    domain: "external",
    where,
    hint: "millrace log verify says what is damaged.",
    cause,
  });

const compressed = (folder: string, offset: number): MillraceError =>
  new MillraceError("BATCH_COMPRESSED", "The records up to here are compressed; they cannot be shown yet.", {
    domain: "user",
    where: `${folder} at offset ${offset}`,
    hint: "Begin behind them with --offset.",
  });
