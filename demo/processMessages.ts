/** What the demo's processes tell each other (node's own channel between parent and child). */

export interface PublisherSettings {
  readonly port: number;
  /** The original file; a range of it from the first flight on. */
  readonly flights: string;
  readonly events: number | "january" | "all";
  readonly connections: number;
  readonly disorderMs: number;
  readonly heldBackOneIn: number;
  readonly heldBackMs: number;
  readonly seed: number;
}

export type ToPublisher =
  | { readonly kind: "settings"; readonly settings: PublisherSettings }
  /** Publish up to this id (not included), then wait for the next limit; say so when `tellAt` has been published. */
  | { readonly kind: "go"; readonly limit: number; readonly tellAt?: number | undefined };

export interface PublisherProgress {
  /** The cursor. */
  readonly position: number;
  readonly confirmed: number;
  readonly inFlight: number;
  readonly republished: number;
  readonly reconnects: number;
}

export type FromPublisher =
  | { readonly kind: "loaded"; readonly count: number; readonly lastDate: number; readonly heldBack: readonly number[] }
  | ({ readonly kind: "progress" } & PublisherProgress)
  /** `tellAt` is published, and with much before it not confirmed yet. */
  | { readonly kind: "reached"; readonly id: number }
  /** `seconds`: from the first publish to the last confirm. */
  | ({ readonly kind: "done"; readonly seconds: number } & PublisherProgress);

export interface ConsumerSettings {
  readonly port: number;
  readonly queue: string;
  /** Ids are below this. */
  readonly count: number;
  /** Where the ids that were seen are written in the end. */
  readonly seenFile: string;
}

export type ToConsumer = { readonly kind: "settings"; readonly settings: ConsumerSettings } | { readonly kind: "finish" };

export interface ConsumerProgress {
  /** Different ids. */
  readonly seen: number;
  readonly redelivered: number;
  readonly unacknowledged: number;
}

export type FromConsumer = { readonly kind: "ready" } | ({ readonly kind: "progress" } & ConsumerProgress) | { readonly kind: "finished" };
