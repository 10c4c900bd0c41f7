import type { Unreachable } from "./coverage.ts";
import { ofTheBroker } from "./unreachable/broker.ts";
import { ofJournalFiles } from "./unreachable/journalFiles.ts";
import { ofJournalSegments } from "./unreachable/journalSegments.ts";
import { ofPartitions } from "./unreachable/partitions.ts";
import { ofStores } from "./unreachable/stores.ts";

const byFile = { ...ofTheBroker, ...ofStores, ...ofPartitions, ...ofJournalFiles, ...ofJournalSegments };

export const unreachable: readonly Unreachable[] = Object.entries(byFile).flatMap(([file, { never = {}, rare = {} }]) => [
  ...listed(file, "never", never),
  ...listed(file, "rare", rare),
]);

function listed(file: string, how: Unreachable["how"], places: Readonly<Record<string, readonly string[]>>): Unreachable[] {
  return Object.entries(places).flatMap(([why, texts]) => texts.map((text) => ({ file, text, how, why })));
}
