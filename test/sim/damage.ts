import path from "node:path";
import type { SimulatedFileSystem } from "../support/simulatedFileSystem.ts";
import type { BitFlip } from "./bitFlips.ts";

/** What is damaged on the disk, what the log says of it, and what it took along. */
export class Damage {
  now: BitFlip | undefined;
  /** Was damaged and said to be; what it took along is forgiven. */
  forgiven: BitFlip | undefined;
  said = false;
  /** The process before was in trouble for something else. */
  inTroubleBefore = false;

  constructor(private readonly note: (what: string) => void) {}

  begin(flip: BitFlip, inTroubleBefore: boolean): void {
    this.inTroubleBefore = inTroubleBefore;
    this.now = flip;
    this.note(`fault: a flipped bit in ${flip.kind}`);
    this.note(`fault: damage of ${flip.extent}`);
  }

  follow(lines: readonly string[]): void {
    const { now } = this;
    if (now === undefined || this.said) return;
    this.said = lines.some((line) => line.includes(now.file));
    if (lines.some((line) => line.includes("a partition is damaged") && line.includes(now.file)))
      this.note("a partition goes on behind damage in the segment that was written");
    if (this.said) this.note(`a flipped bit in ${now.kind} is found and named`);
  }

  /** The operator puts the right file back; the start may have cut it, and said so, before it was refused. */
  refused(): void {
    this.note(`a start is refused for a flipped bit in ${this.now?.kind}`);
    this.now?.undo();
    this.forgiven = this.said ? this.now : undefined;
    this.now = undefined;
  }

  undo(): void {
    this.now?.undo();
    this.forgiven = this.said ? this.now : undefined;
    this.now = undefined;
  }

  /**
   * The operator puts the right file back, and the folder with it: a start may have gone on behind the damage, in a new segment that has
   * nothing in it yet, with indexes and a snapshot that do not know what was damaged, maybe in the place of one that did.
   */
  async putBack(fileSystem: SimulatedFileSystem, { file, touched }: BitFlip): Promise<void> {
    const directory = path.dirname(file);
    const now = fileSystem.files(directory);
    const added = touched === undefined || !now.includes(file) ? [] : now.filter((one) => !touched.folder.has(one));
    const begun = added.filter((one) => one.endsWith(".log"));
    if (touched === undefined || begun.length === 0) return;
    // one with something in it was begun by the process before its end, not by the start: nothing of it goes
    if (begun.some((one) => (fileSystem.peek(one)?.length ?? 0) > 0)) {
      this.note("the file is put back of a partition that had begun another one before its end");
      return;
    }
    const indexes = now.filter((one) => [".index", ".timeindex"].some((end) => one === file.replace(/\.log$/, end)));
    for (const one of [...added, ...indexes]) await fileSystem.removeFile(one);
    for (const [one, bytes] of touched.folder) {
      if (one.endsWith(".snapshot") && fileSystem.peek(one)?.equals(bytes) !== true) await write(fileSystem, one, bytes);
    }
    await fileSystem.syncDirectory(directory);
    this.note("the file is put back of a partition that went on behind damage");
  }

  over(): void {
    this.forgiven = undefined;
    this.said = false;
  }
}

async function write(fileSystem: SimulatedFileSystem, name: string, bytes: Buffer): Promise<void> {
  if (fileSystem.peek(name) !== undefined) await fileSystem.removeFile(name);
  const file = await fileSystem.open(name, "create");
  await file.write(bytes, 0, bytes.length, 0);
  await file.sync();
  await file.close();
}
