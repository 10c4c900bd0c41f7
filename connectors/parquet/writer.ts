import path from "node:path";
import { isDeepStrictEqual } from "node:util";
import { assert, MillraceError } from "../../src/base/errors.ts";
import type { FileSystem } from "../../src/base/fileSystem.ts";
import type { RowSchema } from "../../src/stream/contract/columns.ts";
import type { Handle, RowPlace, SinkContext, SinkWriter } from "../../src/stream/contract/sink.ts";
import type { Compression } from "../formats/parquet/compression.ts";
import { Committer } from "./commit.ts";
import type { PendingFile } from "./handle.ts";
import { fromHandle, toHandle } from "./handle.ts";
import { Jobs } from "./jobs.ts";
import type { ParquetLimits } from "./limits.ts";
import { finalName, pendingFolder, pendingName } from "./names.ts";
import { OpenFile } from "./openFile.ts";
import { outputFileSystem } from "./outputErrors.ts";
import type { PartitionBy } from "./partitions.ts";
import { Partitions } from "./partitions.ts";

/** Files that write or sync at once: with the two jobs of compression, one of the four threads of libuv's pool stays free for the others. */
const fileJobsMax = 1;

export interface WriterOptions {
  readonly to: string;
  readonly partitionBy: PartitionBy<never>;
  readonly compression: Compression;
  readonly limits: ParquetLimits;
}

export async function openParquetWriter(options: WriterOptions, context: SinkContext): Promise<SinkWriter> {
  const fileSystem = outputFileSystem(context.fileSystem);
  const root = path.resolve(context.baseDirectory, options.to);
  const pending = pendingFolder(context.pipeline, context.id);
  await fileSystem.makeDirectory(path.join(root, pending));
  // an earlier process may have been killed after it made these folders and before it synced their names
  for (const folder of [path.dirname(root), root, path.join(root, path.dirname(pending))]) await fileSystem.syncDirectory(folder);
  await removeLeftovers(fileSystem, root, pending, context);
  return new ParquetSinkWriter(options, context, fileSystem, root, pending);
}

/** What no checkpoint names was given up by a start that ended before its checkpoint. */
async function removeLeftovers(fileSystem: FileSystem, root: string, pending: string, context: SinkContext): Promise<void> {
  const live = new Set(context.pending.map((handle) => fromHandle(handle).temporary));
  for (const name of await fileSystem.list(path.join(root, pending))) {
    const temporary = path.join(pending, name);
    if (live.has(temporary)) continue;
    await fileSystem.removeFile(path.join(root, temporary));
    context.logger.debug("removed a Parquet file that no checkpoint names", { path: path.join(root, temporary) });
  }
}

class ParquetSinkWriter implements SinkWriter {
  private readonly partitions: Partitions;
  private readonly committer: Committer;
  private readonly jobs = new Jobs(fileJobsMax);
  /** By partition folder. */
  private readonly open = new Map<string, OpenFile>();
  /** Files of this epoch that are finished or being finished. */
  private finishing: Promise<PendingFile>[] = [];
  private readonly underWay = new Set<Promise<unknown>>();
  private readonly everyFile = new Set<OpenFile>();
  private bufferedBytes = 0;
  private failure: { readonly error: unknown } | undefined;
  private columns: RowSchema | undefined;
  private epoch: number;
  private filesOfEpoch = 0;
  private lastFolder: string | undefined;
  private lastFile: OpenFile | undefined;

  constructor(
    private readonly options: WriterOptions,
    private readonly context: SinkContext,
    private readonly fileSystem: FileSystem,
    private readonly root: string,
    private readonly pending: string,
  ) {
    this.partitions = new Partitions(options.partitionBy);
    this.committer = new Committer(fileSystem, root);
    this.epoch = context.epoch;
  }

  write(row: unknown, columns: RowSchema, place: RowPlace): void {
    if (columns !== this.columns) this.pin(columns);
    const folder = this.partitions.folderOf(row);
    const file = folder === this.lastFolder && this.lastFile !== undefined ? this.lastFile : this.fileOf(folder, columns);
    this.bufferedBytes += file.write(row, place);
    const limits = this.options.limits;
    if (file.rowCount >= limits.fileRowsMax) this.finish(folder, file);
    else if (file.gatheredBytes >= limits.rowGroupBytesMax || file.gatheredRows >= limits.rowGroupRowsMax) this.track(file.writeRowGroup());
  }

  async drained(): Promise<void> {
    while (this.bufferedBytes > this.options.limits.bufferBytesMax) {
      this.throwFailure();
      if (this.underWay.size === 0) this.track(this.largest()[1].writeRowGroup());
      await Promise.race(this.underWay);
    }
    this.throwFailure();
  }

  async snapshot(epoch: number): Promise<{ readonly pending: readonly Handle[]; readonly resume: null }> {
    assert(epoch >= this.epoch, `snapshot of epoch ${epoch} after ${this.epoch - 1}`);
    for (const [folder, file] of this.open) this.finish(folder, file);
    // all of them end before the first failure is thrown: nothing goes on behind the caller's back
    const outcomes = await Promise.allSettled(this.finishing);
    this.throwFailure();
    const files = outcomes.map((outcome) => (outcome as PromiseFulfilledResult<PendingFile>).value);
    for (const file of files) await this.committer.refuseTaken(file);
    if (files.length > 0) await this.fileSystem.syncDirectory(path.join(this.root, this.pending));
    this.finishing = [];
    this.everyFile.clear();
    this.epoch = epoch + 1;
    this.filesOfEpoch = 0;
    return { pending: files.map(toHandle), resume: null };
  }

  commit(handle: Handle): Promise<void> {
    return this.committer.commit(fromHandle(handle));
  }

  committed(): Promise<void> {
    return this.committer.committed();
  }

  async close(): Promise<void> {
    for (const file of this.everyFile) await file.abandon();
    this.everyFile.clear();
    this.open.clear();
    this.lastFile = undefined;
  }

  /** Columns that came later (inferred ones do) go to new files: a file has one schema. */
  private pin(columns: RowSchema): void {
    if (columns.length === 0) {
      throw new MillraceError("ROW_REFUSED", "the row has no value, and no row before it had one: its columns are not known", {
        domain: "user",
      });
    }
    this.partitions.refuseColumns(columns);
    if (!isDeepStrictEqual(columns, this.columns)) for (const [folder, file] of this.open) this.finish(folder, file);
    this.columns = columns;
  }

  private fileOf(folder: string, columns: RowSchema): OpenFile {
    let file = this.open.get(folder);
    if (file === undefined) {
      if (this.open.size >= this.options.limits.openFilesMax) this.finish(...this.largest());
      file = this.create(folder, columns);
      this.open.set(folder, file);
      this.everyFile.add(file);
    }
    this.lastFolder = folder;
    this.lastFile = file;
    return file;
  }

  private create(folder: string, columns: RowSchema): OpenFile {
    const n = this.filesOfEpoch++;
    return new OpenFile({
      fileSystem: this.fileSystem,
      root: this.root,
      temporary: path.join(this.pending, pendingName(this.epoch, n)),
      final: path.join(folder, finalName(this.context.pipeline, this.context.id, this.epoch, n)),
      columns,
      compression: this.options.compression,
      jobs: this.jobs,
      released: (bytes) => {
        this.bufferedBytes -= bytes;
      },
    });
  }

  /** Closes a file before or at the checkpoint; it is committed with the checkpoint in any case. */
  private finish(folder: string, file: OpenFile): void {
    this.open.delete(folder);
    if (this.lastFile === file) this.lastFile = undefined;
    if (file.rowCount === 0) return; // its first row was refused
    const finished = file.finish({
      "millrace.pipeline": this.context.pipeline,
      "millrace.sink": this.context.id,
      "millrace.epoch": String(this.epoch),
    });
    this.finishing.push(finished);
    this.track(finished);
  }

  private largest(): [string, OpenFile] {
    let found: [string, OpenFile] | undefined;
    for (const entry of this.open) if (found === undefined || entry[1].gatheredBytes > found[1].gatheredBytes) found = entry;
    assert(found !== undefined, "rows are buffered without a file");
    return found;
  }

  private track(work: Promise<unknown>): void {
    const tracked: Promise<unknown> = work.then(
      () => this.underWay.delete(tracked),
      (error: unknown) => {
        this.underWay.delete(tracked);
        this.failure ??= { error };
      },
    );
    this.underWay.add(tracked);
  }

  private throwFailure(): void {
    if (this.failure !== undefined) throw this.failure.error;
  }
}
