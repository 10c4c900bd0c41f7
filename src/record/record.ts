export interface RecordHeader {
  readonly key: string;
  readonly value: Uint8Array | null;
}

/** One record of a topic, before it has an offset. */
export interface NewRecord {
  readonly key: Uint8Array | null;
  readonly value: Uint8Array | null;
  readonly headers: readonly RecordHeader[];
  /** Milliseconds since 1970 UTC. */
  readonly timestamp: number;
}

/** One record as it was read: key and value are views of the batch's bytes. */
export interface StoredRecord extends NewRecord {
  readonly offset: number;
}
