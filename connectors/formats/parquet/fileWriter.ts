import { crc32c } from "../../../src/base/crc32c.ts";
import type { File } from "../../../src/base/fileSystem.ts";
import type { RowColumn, RowSchema } from "../../../src/stream/contract/columns.ts";
import type { ColumnBuffer, Page } from "./columnBuffer.ts";
import type { Compression } from "./compression.ts";
import { compress } from "./compression.ts";
import type { ChunkMetadata, RowGroupMetadata } from "./footer.ts";
import { fileFooter, pageHeader } from "./footer.ts";
import { encoding, magic, pageKind } from "./format.ts";
import type { RowGroup } from "./rowGroup.ts";

/** Pages gather to writes of about this size. */
const writeBytes = 1024 * 1024;
/** Pages of one file that are made and not yet written: enough to keep the compressor's two jobs busy. */
const pagesAheadMax = 3;

export interface FinishedFile {
  readonly bytes: number;
  readonly rowCount: number;
  /** Of the footer: it tells this file from another of the same size. */
  readonly footerCrc: number;
}

interface PageOnItsWay {
  readonly chunk: ChunkMetadata;
  readonly page: Page;
  readonly compressed: Promise<Buffer>;
}

/** Writes row groups and at last the footer to a file that was just created. One call at a time. */
export class ParquetFileWriter {
  private position = 0;
  private readonly rowGroups: RowGroupMetadata[] = [];
  private waiting: Uint8Array[] = [Buffer.from(magic)];
  private waitingBytes = magic.length;

  constructor(
    private readonly file: File,
    private readonly schema: RowSchema,
    private readonly compression: Compression,
  ) {}

  /** The group takes no more rows from here on. An empty one leaves nothing in the file. */
  async writeRowGroup(group: RowGroup): Promise<void> {
    group.settle();
    if (group.rowCount === 0) return;
    const ahead: PageOnItsWay[] = [];
    const chunks: ChunkMetadata[] = [];
    for (let i = 0; i < group.columns.length; i++) {
      const column = group.columns[i] as ColumnBuffer;
      const chunk = emptyChunk(this.schema[i] as RowColumn, column);
      chunks.push(chunk);
      for (const page of column.pages()) {
        const compressed = compress(page.body, this.compression);
        compressed.catch(() => undefined); // seen when its turn comes, also if an earlier page fails first
        ahead.push({ chunk, page, compressed });
        if (ahead.length === pagesAheadMax) await this.writePage(ahead.shift() as PageOnItsWay);
      }
    }
    for (const next of ahead) await this.writePage(next);
    // what the caller takes for written must not stay in memory
    await this.flush();
    this.rowGroups.push({ chunks, rowCount: group.rowCount });
  }

  /** Writes the footer; the file is whole, not yet synced. */
  async finish(keyValues: Readonly<Record<string, string>>): Promise<FinishedFile> {
    const footer = fileFooter({ schema: this.schema, compression: this.compression, rowGroups: this.rowGroups, keyValues });
    const tail = Buffer.alloc(8);
    tail.writeUInt32LE(footer.length, 0);
    tail.write(magic, 4, "latin1");
    this.waiting.push(footer, tail);
    this.waitingBytes += footer.length + tail.length;
    await this.flush();
    const rowCount = this.rowGroups.reduce((sum, group) => sum + group.rowCount, 0);
    return { bytes: this.position, rowCount, footerCrc: crc32c(footer) };
  }

  private async writePage({ chunk, page, compressed }: PageOnItsWay): Promise<void> {
    const body = await compressed;
    const header = pageHeader(page, body.length);
    const offset = this.position + this.waitingBytes;
    if (page.kind === pageKind.dictionary) chunk.dictionaryOffset = offset;
    else {
      if (chunk.dataOffset === 0) chunk.dataOffset = offset;
      chunk.valueCount += page.valueCount;
    }
    chunk.encodings.add(page.encoding);
    chunk.uncompressedBytes += header.length + page.body.length;
    chunk.compressedBytes += header.length + body.length;
    this.waiting.push(header, body);
    this.waitingBytes += header.length + body.length;
    if (this.waitingBytes >= writeBytes) await this.flush();
  }

  private async flush(): Promise<void> {
    const bytes = Buffer.concat(this.waiting, this.waitingBytes);
    this.waiting = [];
    this.waitingBytes = 0;
    await this.file.write(bytes, 0, bytes.length, this.position);
    this.position += bytes.length;
  }
}

function emptyChunk(column: RowColumn, buffer: ColumnBuffer): ChunkMetadata {
  return {
    column,
    statistics: buffer.statistics(),
    encodings: new Set([encoding.rle]), // the levels'
    valueCount: 0,
    uncompressedBytes: 0,
    compressedBytes: 0,
    dictionaryOffset: undefined,
    dataOffset: 0,
  };
}
