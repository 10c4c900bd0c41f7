/**
 * The copies of a queue that wait for their first delivery, in order of their offsets, 20 bytes each in typed arrays: a
 * backlog costs disk, not memory (as objects the same takes about five times as much). Content that is still in
 * memory hangs beside them.
 */
import { assert } from "../base/errors.ts";
import type { Copy, KeptContent } from "./copy.ts";

const chunkEntriesFirst = 16; // an idle queue costs little
const chunkEntriesMax = 2048;
const gone = -1;

class Chunk {
  readonly offsets: Float64Array;
  readonly positions: Float64Array;
  /** Bytes of the content times two, plus one if the copy is durable. */
  readonly sizes: Uint32Array;
  contents: (KeptContent | undefined)[] | undefined;
  begin = 0;
  end = 0;
  live = 0;

  constructor(readonly capacity: number) {
    this.offsets = new Float64Array(capacity);
    this.positions = new Float64Array(capacity);
    this.sizes = new Uint32Array(capacity);
  }
}

export class ReadyIndex {
  private chunks: Chunk[] = [];
  private count = 0;

  get length(): number {
    return this.count;
  }

  /** Offsets must increase. */
  push(offset: number, position: number, bytes: number, durable: boolean, content: KeptContent | undefined): void {
    let chunk = this.chunks.at(-1);
    if (chunk === undefined || chunk.end === chunk.capacity) {
      chunk = new Chunk(chunk === undefined ? chunkEntriesFirst : Math.min(chunk.capacity * 4, chunkEntriesMax));
      this.chunks.push(chunk);
    }
    const at = chunk.end++;
    assert(at === 0 || offset > (chunk.offsets[at - 1] as number), "offsets of ready messages increase");
    chunk.offsets[at] = offset;
    chunk.positions[at] = position;
    chunk.sizes[at] = bytes * 2 + (durable ? 1 : 0);
    if (content !== undefined) (chunk.contents ??= [])[at] = content;
    chunk.live++;
    this.count++;
  }

  /** The first one's offset; the index must not be empty. */
  firstOffset(): number {
    const chunk = this.headChunk();
    return chunk.offsets[chunk.begin] as number;
  }

  first(): Copy | undefined {
    if (this.count === 0) return undefined;
    const chunk = this.headChunk();
    return copyAt(chunk, chunk.begin);
  }

  takeFirst(): Copy {
    const chunk = this.headChunk();
    const copy = copyAt(chunk, chunk.begin);
    this.remove(chunk, 0, chunk.begin);
    return copy;
  }

  /** Removes one wherever it stands: recovery meets the acknowledgement after the message. */
  delete(offset: number): Copy | undefined {
    const found = this.locate(offset);
    if (found === undefined) return undefined;
    const chunk = this.chunks[found.index] as Chunk;
    const copy = copyAt(chunk, found.at);
    this.remove(chunk, found.index, found.at);
    return copy;
  }

  positionOf(offset: number): number | undefined {
    const found = this.locate(offset);
    return found === undefined ? undefined : (this.chunks[found.index] as Chunk).positions[found.at];
  }

  /** False: it is not here. */
  move(offset: number, to: number): boolean {
    const found = this.locate(offset);
    if (found !== undefined) (this.chunks[found.index] as Chunk).positions[found.at] = to;
    return found !== undefined;
  }

  /** In order; the index must not change meanwhile. */
  *[Symbol.iterator](): Generator<Copy> {
    for (const chunk of this.chunks) {
      for (let at = chunk.begin; at < chunk.end; at++) if (chunk.positions[at] !== gone) yield copyAt(chunk, at);
    }
  }

  private locate(offset: number): { readonly index: number; readonly at: number } | undefined {
    const index = lowerBound(this.chunks.length, (at) => {
      const chunk = this.chunks[at] as Chunk;
      return (chunk.offsets[chunk.end - 1] as number) >= offset;
    });
    const chunk = this.chunks[index];
    if (chunk === undefined) return undefined;
    const at = lowerBound(chunk.end, (entry) => (chunk.offsets[entry] as number) >= offset);
    if (at < chunk.begin || chunk.offsets[at] !== offset || chunk.positions[at] === gone) return undefined;
    return { index, at };
  }

  private headChunk(): Chunk {
    const chunk = this.chunks[0];
    assert(chunk !== undefined && chunk.live > 0, "there is a ready message");
    while (chunk.positions[chunk.begin] === gone) chunk.begin++;
    return chunk;
  }

  private remove(chunk: Chunk, chunkIndex: number, at: number): void {
    chunk.positions[at] = gone;
    if (chunk.contents !== undefined) chunk.contents[at] = undefined;
    if (at === chunk.begin) chunk.begin++;
    this.count--;
    if (--chunk.live > 0) return;
    if (chunkIndex === this.chunks.length - 1 && chunk.capacity === chunkEntriesFirst) {
      chunk.begin = chunk.end = 0; // a queue that stays short stays in its one small chunk
    } else {
      this.chunks.splice(chunkIndex, 1);
    }
  }
}

function copyAt(chunk: Chunk, at: number): Copy {
  const size = chunk.sizes[at] as number;
  return {
    offset: chunk.offsets[at] as number,
    position: chunk.positions[at] as number,
    bytes: size >>> 1,
    durable: (size & 1) === 1,
    redelivered: false,
    content: chunk.contents?.[at],
  };
}

/** The first index in [0, end) for which `holds`, or `end`; `holds` stays true once it is. */
function lowerBound(end: number, holds: (at: number) => boolean): number {
  let low = 0;
  let high = end;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (holds(middle)) high = middle;
    else low = middle + 1;
  }
  return low;
}
