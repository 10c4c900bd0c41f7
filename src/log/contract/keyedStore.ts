/** The compiler takes a type alias with known properties for one, an interface it does not. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

/** A small durable map: the topology, the catalog of topics. All of it is in memory. */
export interface KeyedStore {
  readonly entries: ReadonlyMap<string, Json>;
  /**
   * Applies all changes as one (null removes the key) and resolves when they are durable; in memory from then on. KEYED_STORE_FAILED: a write
   * failed, and until changes are taken again a crash may leave the change made or not; afterwards it is not made. KEYED_STORE_UNAVAILABLE:
   * it is not made, as changes are not taken again yet; so is an empty one answered, which changes nothing.
   */
  change(changes: ReadonlyMap<string, Json | null>): Promise<void>;
  close(): Promise<void>;
}
