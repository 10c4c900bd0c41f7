/** What the simulation found wrong: the log, or the broker, did not keep a promise. */
export class Violation extends Error {
  override readonly name = "Violation";
}

export function demand(condition: unknown, what: () => string): asserts condition {
  if (!condition) throw new Violation(what());
}
