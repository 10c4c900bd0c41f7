import { destinationBytes } from "./format.ts";

/** So many acknowledgements make an entry of their own, if no commit came before. */
const countMax = 4096;

/** Acknowledgements that wait to become one entry: 12 bytes each, as they will be in the file. */
export class AcknowledgementStage {
  private readonly room: number;
  readonly bytes: Uint8Array;
  private readonly view: DataView;
  used = 0;

  constructor(entryBodyBytesMax: number) {
    this.room = Math.min(countMax, Math.floor(entryBodyBytesMax / destinationBytes)) * destinationBytes;
    this.bytes = new Uint8Array(this.room);
    this.view = new DataView(this.bytes.buffer);
  }

  get full(): boolean {
    return this.used === this.room;
  }

  add(queue: number, offset: number): void {
    this.view.setUint32(this.used, queue, true);
    this.view.setFloat64(this.used + 4, offset, true);
    this.used += destinationBytes;
  }
}
