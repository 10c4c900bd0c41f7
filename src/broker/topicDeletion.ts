import type { EmbeddedLog } from "../log/contract/embeddedLog.ts";
import type { Json, KeyedStore } from "../log/contract/keyedStore.ts";
import { Removal } from "./removal.ts";
import { storeKey, type Topology } from "./topology.ts";

const deletionNote = (topology: Topology, name: string): string => storeKey("topic-deletion", topology.name, name);

/** To be written with a new topic's declaration: a deletion that failed half-way must not be finished on its namesake. */
export function withoutDeletion(topology: Topology, name: string): ReadonlyMap<string, Json | null> {
  return new Map([[deletionNote(topology, name), null]]);
}

/**
 * A topic goes in three steps, so that a crash between them leaves no topic that nobody knows: out of the topology, with a note in
 * the same write; out of the log; the note away.
 */
export async function deleteTopicQueue(name: string, topology: Topology, log: EmbeddedLog): Promise<void> {
  const note = deletionNote(topology, name);
  await topology.commit(new Removal(topology).queue(name).changes, new Map<string, Json | null>([[note, true]]));
  await log.deleteTopic(name);
  await topology.commit([], new Map([[note, null]]));
}

/** What a crash interrupted. */
export async function finishTopicDeletions(store: KeyedStore, log: EmbeddedLog): Promise<void> {
  for (const note of store.entries.keys()) {
    const [kind, , name] = JSON.parse(note) as string[];
    if (kind !== "topic-deletion" || name === undefined) continue;
    if (log.topic(name) !== undefined) await log.deleteTopic(name);
    await store.change(new Map([[note, null]]));
  }
}
