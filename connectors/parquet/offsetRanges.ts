import type { RowPlace } from "../../src/stream/contract/sink.ts";

interface OffsetRange {
  readonly topic: string;
  readonly partition: number;
  first: number;
  last: number;
}

/** The records that a file's rows came from: the file proves with it what it holds. */
export class OffsetRanges {
  private readonly ranges: OffsetRange[] = [];
  private last: OffsetRange | undefined;

  add(place: RowPlace): void {
    let range = this.last;
    if (range === undefined || range.partition !== place.partition || range.topic !== place.topic) {
      range = this.ranges.find((known) => known.partition === place.partition && known.topic === place.topic);
      if (range === undefined) {
        range = { topic: place.topic, partition: place.partition, first: place.offset, last: place.offset };
        this.ranges.push(range);
      }
      this.last = range;
    }
    if (place.offset < range.first) range.first = place.offset;
    if (place.offset > range.last) range.last = place.offset;
  }

  toJson(): string {
    return JSON.stringify(this.ranges);
  }
}
