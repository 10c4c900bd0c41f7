import type { ByteBudget } from "../../../base/byteBudget.ts";
import type { File } from "../../../base/fileSystem.ts";

/** Some bytes of a file, as far as it has them. */
export interface Piece {
  readonly buffer: Buffer;
  readonly length: number;
}

/**
 * For a reader that goes through a file: reads the next piece while the one before is checked and used. From the disk such a reader then
 * waits for the slower of disk and processor, not for both. It holds one piece at most, and none when all readers together hold too much.
 */
export class NextPiece {
  private held:
    | { readonly file: File; readonly position: number; readonly buffer: Buffer; readonly read: Promise<Piece | Error> }
    | undefined;

  /** What somebody has now; only that can come back, once. */
  private readonly lent = new WeakSet<Buffer>();
  private spare: ArrayBufferLike | undefined;

  constructor(private readonly budget: ByteBudget) {}

  /** The first `bytes` of a piece, for somebody to keep or to give back. */
  lend({ buffer }: Piece, bytes: number): Buffer {
    const lent = buffer.subarray(0, bytes);
    this.lent.add(lent);
    return lent;
  }

  /** What was lent and nobody needs any more: the next piece lies in its memory. */
  giveBack(lent: Buffer): void {
    if (this.lent.delete(lent)) this.spare = lent.buffer;
  }

  /** The piece that was begun, if it is this one; else it is read now. */
  async read(file: File, position: number, length: number): Promise<Piece> {
    const { held } = this;
    const found = await this.letGo();
    const isThis = held?.file === file && held.position === position && held.buffer.length === length;
    const piece = isThis ? found : await readInto(file, this.memory(length), position, 0);
    if (piece === undefined || piece instanceof Error) throw piece;
    return piece;
  }

  /** @param known what is in memory of its begin: it is not read again */
  begin(file: File, position: number, length: number, known: Buffer): void {
    if (this.held !== undefined || this.budget.over) return;
    this.budget.take(length);
    const buffer = this.memory(length);
    const read = readInto(file, buffer, position, known.copy(buffer)).catch((error: Error) => error);
    this.held = { file, position, buffer, read };
  }

  /** Afterwards nothing is read any more: the file may be closed, and what it was is forgotten. */
  async letGo(): Promise<Piece | Error | undefined> {
    const { held } = this;
    if (held === undefined) return undefined;
    const read = await held.read;
    this.held = undefined;
    this.budget.release(held.buffer.length);
    return read;
  }

  private memory(length: number): Buffer {
    const { spare } = this;
    this.spare = undefined;
    return spare !== undefined && spare.byteLength >= length ? Buffer.from(spare, 0, length) : Buffer.allocUnsafeSlow(length);
  }
}

const readInto = async (file: File, buffer: Buffer, position: number, known: number): Promise<Piece> => ({
  buffer,
  length: known + (await file.read(buffer, known, buffer.length - known, position + known)),
});
