import type { Message } from "../record/message.ts";
import type { Binding } from "./bindings.ts";

/** What a matcher may look at. */
export type Headers = ReturnType<Message["headers"]>;

export interface Matcher {
  add(binding: Binding): void;
  remove(binding: Binding): void;
  /** Calls `found` for every binding that matches; one destination may come several times. */
  match(routingKey: string, headers: () => Headers, found: (binding: Binding) => void): void;
}
