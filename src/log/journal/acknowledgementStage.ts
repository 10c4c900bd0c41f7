import { destinationBytes } from "./files/format.ts";

/** So many acknowledgements make an entry of their own, if no commit came before. */
const countMax = 4096;

/** Acknowledgements that wait to become entries: 12 bytes each, as they will be in the file. */
export class AcknowledgementStage {
  private readonly room: number;
  private bytes: Uint8Array;
  private view: DataView;
  private used = 0;
  /** While nothing can be written: entries' worth each. Bounded by the copies that the queues held when it began. */
  private readonly aside: Uint8Array[] = [];

  constructor(entryBodyBytesMax: number) {
    this.room = Math.min(countMax, Math.floor(entryBodyBytesMax / destinationBytes)) * destinationBytes;
    this.bytes = new Uint8Array(this.room);
    this.view = new DataView(this.bytes.buffer);
  }

  get full(): boolean {
    return this.used === this.room;
  }

  get isEmpty(): boolean {
    return this.used === 0 && this.aside.length === 0;
  }

  add(queue: number, offset: number): void {
    this.view.setUint32(this.used, queue, true);
    this.view.setFloat64(this.used + 4, offset, true);
    this.used += destinationBytes;
  }

  /** Makes room for more, though nothing is taken. */
  setAside(): void {
    this.aside.push(this.bytes);
    this.bytes = new Uint8Array(this.room);
    this.view = new DataView(this.bytes.buffer);
    this.used = 0;
  }

  /** All of them, in order, an entry's worth at a time; then there are none. */
  takeAll(take: (bytes: Uint8Array, byteLength: number) => void): void {
    for (const bytes of this.aside.splice(0)) take(bytes, bytes.length);
    const { used } = this;
    this.used = 0;
    if (used > 0) take(this.bytes, used);
  }
}
