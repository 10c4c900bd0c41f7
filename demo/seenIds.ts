import { writeFile } from "node:fs/promises";

/** What a consumer was given, id by id; and the judge's evidence. */
export class SeenIds {
  distinct = 0;
  redelivered = 0;
  private readonly deliveries: Uint16Array;
  /** Came again without being marked as redelivered: a duplicate. */
  private readonly unmarked: Uint16Array;

  /** Ids are below `count`. */
  constructor(count: number) {
    this.deliveries = new Uint16Array(count);
    this.unmarked = new Uint16Array(count);
  }

  record(id: number, redelivered: boolean): void {
    const before = this.deliveries[id];
    if (before === undefined) throw new Error(`the consumer got flight ${id}, which was not published`);
    if (before === 0) this.distinct++;
    this.deliveries[id] = before + 1;
    if (redelivered) this.redelivered++;
    else if (before > 0) this.unmarked[id] = (this.unmarked[id] as number) + 1;
  }

  /** CSV: id, how often it came, how often it came again without being marked. */
  async write(file: string): Promise<void> {
    const lines = ["id,deliveries,unmarked"];
    this.deliveries.forEach((times, id) => {
      if (times > 0) lines.push(`${id},${times},${this.unmarked[id]}`);
    });
    await writeFile(file, `${lines.join("\n")}\n`);
  }
}
