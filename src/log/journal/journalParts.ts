import type { ByteBudget } from "../../base/byteBudget.ts";
import type { Clock } from "../../base/clock.ts";
import type { Logger } from "../../base/logger.ts";
import type { JournalTenants, StoppedQueues } from "../contract/queueJournal.ts";
import type { JournalTail } from "./files/journalFile.ts";
import type { JournalFiles } from "./files/journalFiles.ts";
import type { JournalReader } from "./files/journalReader.ts";
import type { Segments } from "./segments/segments.ts";
import type { WriteBehind } from "./segments/writeBehind.ts";

export interface JournalSettings {
  readonly clock: Clock;
  readonly logger: Logger;
  /** Bytes that wait for the disk; shared with whoever else writes. */
  readonly budget: ByteBudget;
  /** The largest content that is taken. */
  readonly messageBytesMax: number;
  /** Made if it is not there; nothing but the journal is in it. */
  readonly directory: string;
}

/** What the journal works with. */
export interface JournalParts {
  readonly files: JournalFiles;
  readonly segments: Segments;
  readonly reader: JournalReader;
  readonly writeBehind: WriteBehind;
  readonly tenants: JournalTenants;
  /** When all is synced up to there: so that the next start need not read it. False: it has to. */
  readonly leave: (tail: JournalTail, queues: StoppedQueues) => Promise<boolean>;
}
