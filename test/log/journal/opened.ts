/** A journal of small files, what its start told, and what it logged since. */
import { ByteBudget } from "../../../src/base/byteBudget.ts";
import { systemClock } from "../../../src/base/clock.ts";
import type { MillraceError } from "../../../src/base/errors.ts";
import type { FileSystem } from "../../../src/base/fileSystem.ts";
import { type LogFields, silentLogger } from "../../../src/base/logger.ts";
import type { QueueJournal } from "../../../src/log/contract/queueJournal.ts";
import { openJournal } from "../../../src/log/journal/openJournal.ts";
import { Receipt } from "../../../src/record/receipt.ts";
import { Replayed } from "./journalModel.ts";

export const fileBytes = 8192;

export interface Opened {
  readonly journal: QueueJournal;
  readonly replayed: Replayed;
  readonly budget: ByteBudget;
  readonly said: readonly string[];
  /** Where errors were. */
  readonly errors: readonly LogFields[];
  /** Copies that were told a new place, with that and the old one. */
  readonly moves: ReadonlyMap<string, readonly [number, number]>;
}

/** Time for nobody to wait for. */
const impatient = { ...systemClock, after: (delayMs: number, then: () => void) => systemClock.after(Math.min(delayMs, 5), then) };

export async function open(fileSystem: FileSystem, directory = "/journal", bytes = fileBytes): Promise<Opened> {
  const said: string[] = [];
  const errors: LogFields[] = [];
  const moves = new Map<string, readonly [number, number]>();
  const replayed = new Replayed({
    holds: () => false,
    remembers: () => false,
    moved: (queue, offset, from, to) => moves.set(`${queue}/${offset}`, [from, to]) !== undefined,
    idMoved: () => false,
    stretch: () => undefined,
    runMoved: () => [],
  });
  const budget = new ByteBudget("journal", 1024 * 1024);
  const logger = {
    ...silentLogger,
    info: (text: string) => void said.push(text),
    warn: (text: string) => void said.push(text),
    error: (text: string, fields?: LogFields) => {
      said.push(text);
      errors.push(fields ?? {});
    },
  };
  const settings = { clock: impatient, logger, budget, messageBytesMax: Math.max(100_000, bytes / 2), fileBytes: bytes, bytesMax: 2 ** 40 };
  const journal = await openJournal({ fileSystem, directory, ...settings }, replayed);
  return { journal, replayed, budget, said, errors, moves };
}

/** Of queue 1. */
export function append(journal: QueueJournal, offset: number, content: string | Buffer, receipt?: Receipt, persistent = true): number {
  const message = {
    address: Buffer.of(1, 65, 1, 66),
    contentFormat: 1,
    content: Buffer.from(content as string),
    persistent,
    dedupeId: undefined,
    timestamp: 1,
  } as const;
  return journal.append(message, [{ queue: 1, offset }], 1, receipt);
}

export function settled(join: (receipt: Receipt) => void): Promise<MillraceError | undefined> {
  return new Promise((resolve) => {
    const receipt = new Receipt(resolve);
    join(receipt);
    receipt.seal();
  });
}

export async function patch(fs: FileSystem, file: string, at: number, bytes: Buffer): Promise<void> {
  const handle = await fs.open(file, "write");
  await handle.write(bytes, 0, bytes.length, at);
  await handle.sync();
  await handle.close();
}
