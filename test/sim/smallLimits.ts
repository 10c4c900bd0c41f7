import type { Replacement } from "./replacing.ts";

/**
 * What is bounded in the code is bounded more tightly in the simulation, so that its few bytes reach the bounds: what is done between two
 * turns of the loop, what is held in memory, what a start reads again.
 */
export const smallLimits: readonly Replacement[] = [
  limit("src/log/embedded/compaction/cleanedSegment.ts", "SYNC_EVERY_BYTES", "16 * 1024 * 1024", 1024),
  limit("src/log/embedded/embeddedLog.ts", "MAINTAINED_A_TURN", "64", 4),
  limit("src/log/embedded/partition/openBatches.ts", "COPIED_BYTES_MAX", "64 * 1024", 1500),
  limit("src/log/embedded/partition/partitionFiles.ts", "RECOVERY_BYTES_MAX", "16 * 1024 * 1024", 1000),
  limit("src/log/journal/acknowledgementStage.ts", "countMax", "4096", 8),
  limit("src/log/journal/files/rescue.ts", "pieceBytes", "1024 * 1024", 2048),
  limit("src/log/journal/files/rescue.ts", "tenantsPerSliceMax", "2000", 10),
  limit("src/log/journal/queueJournal.ts", "unsyncedBytesMax", "4 * 1024 * 1024", 4096),
  limit("src/log/journal/segments/slice.ts", "itemsPerSliceMax", "2000", 20),
  limit("src/log/journal/segments/writeBehind.ts", "acknowledgedPerTurnMax", "4096", 4),
  limit("src/log/journal/start/cleanStopFormat.ts", "stoppedBytesMax", "64 * 1024 * 1024", 2000),
  limit("src/log/keyedStoreCopy.ts", "CHUNK_BYTES", "1024 * 1024", 512),
  limit("src/log/journal/segments/segmentLoad.ts", "trustedBytesMax", "1024 * 1024", 200),
];

function limit(file: string, name: string, value: string, small: number): Replacement {
  return { file, from: `const ${name} = ${value};`, to: `const ${name} = ${small};` };
}
