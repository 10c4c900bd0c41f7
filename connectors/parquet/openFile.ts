import path from "node:path";
import { assert } from "../../src/base/errors.ts";
import type { File, FileSystem } from "../../src/base/fileSystem.ts";
import type { RowSchema } from "../../src/stream/contract/columns.ts";
import type { RowPlace } from "../../src/stream/contract/sink.ts";
import type { Compression } from "../formats/parquet/compression.ts";
import { ParquetFileWriter } from "../formats/parquet/fileWriter.ts";
import { RowGroup } from "../formats/parquet/rowGroup.ts";
import type { PendingFile } from "./handle.ts";
import type { Jobs } from "./jobs.ts";
import { OffsetRanges } from "./offsetRanges.ts";

export interface OpenFileOptions {
  readonly fileSystem: FileSystem;
  readonly root: string;
  readonly temporary: string;
  readonly final: string;
  readonly columns: RowSchema;
  readonly compression: Compression;
  readonly jobs: Jobs;
  /** Rows that were in memory are on their way to the disk. */
  readonly released: (bytes: number) => void;
}

/** One file under its temporary name. Rows gather in memory; row groups are written in the background, one after the other. */
export class OpenFile {
  rowCount = 0;
  private group: RowGroup | undefined;
  private readonly offsets = new OffsetRanges();
  private file: File | undefined;
  private writer: ParquetFileWriter | undefined;
  /** The jobs of this file, in order; after a failed one the others fail alike. */
  private work: Promise<void> = Promise.resolve();
  private abandoned = false;

  constructor(private readonly options: OpenFileOptions) {}

  /** Memory of the row group that takes rows. */
  get gatheredBytes(): number {
    return this.group?.byteCount ?? 0;
  }

  get gatheredRows(): number {
    return this.group?.rowCount ?? 0;
  }

  /** Returns by how much the memory in use changed. Throws ROW_REFUSED and keeps nothing of the row. */
  write(row: unknown, place: RowPlace): number {
    this.group ??= new RowGroup(this.options.columns);
    const before = this.group.byteCount;
    this.group.write(row);
    this.offsets.add(place);
    this.rowCount++;
    return this.group.byteCount - before;
  }

  /** Starts to write what was gathered; rows after it go to the next row group. */
  writeRowGroup(): Promise<void> {
    const group = this.group;
    this.group = undefined;
    if (group === undefined) return this.work;
    const bytes = group.byteCount;
    return this.inOrder(async () => {
      await (await this.opened()).writeRowGroup(group);
      this.options.released(bytes);
    });
  }

  /** Writes the rest and the footer, and syncs the file; its name is durable after a sync of the folder. */
  async finish(keyValues: Readonly<Record<string, string>>): Promise<PendingFile> {
    void this.writeRowGroup();
    return this.inOrder(async () => {
      const writer = await this.opened();
      const { bytes, rowCount, footerCrc } = await writer.finish({ ...keyValues, "millrace.offsets": this.offsets.toJson() });
      await this.file?.sync();
      await this.closeFile();
      return { temporary: this.options.temporary, final: this.options.final, rows: rowCount, bytes, footerCrc };
    });
  }

  /** Waits for what is under way and gives the file up. */
  async abandon(): Promise<void> {
    this.abandoned = true;
    await this.work.catch(() => undefined);
    await this.closeFile();
  }

  private inOrder<R>(job: () => Promise<R>): Promise<R> {
    const result = this.work.then(() => this.options.jobs.run(job));
    this.work = result.then(() => undefined);
    this.work.catch(() => undefined); // whoever has the result hears it
    return result;
  }

  private async opened(): Promise<ParquetFileWriter> {
    assert(!this.abandoned, "a file that was given up is written");
    if (this.writer !== undefined) return this.writer;
    const { fileSystem, root, temporary, columns, compression } = this.options;
    this.file = await fileSystem.open(path.join(root, temporary), "create");
    this.writer = new ParquetFileWriter(this.file, columns, compression);
    return this.writer;
  }

  private async closeFile(): Promise<void> {
    const file = this.file;
    this.file = undefined;
    await file?.close();
  }
}
