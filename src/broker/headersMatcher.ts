import type { HeaderValue } from "../record/message.ts";
import { valueKey } from "./arguments.ts";
import type { Binding } from "./bindings.ts";
import { preconditionFailed } from "./errors.ts";
import type { Headers, Matcher } from "./matcher.ts";

const modes: ReadonlySet<HeaderValue> = new Set(["all", "any", "all-with-x", "any-with-x"]);

interface Rule {
  readonly any: boolean;
  /** Header and the key of its value; undefined: it only has to be there. */
  readonly wanted: readonly (readonly [name: string, value: string | undefined])[];
}

/** Matches by the message's headers. `x-match` says how; the other names that begin with `x-` count only with `-with-x`. */
export class HeadersMatcher implements Matcher {
  private readonly rules = new Map<Binding, Rule>();

  static check(binding: Binding): void {
    const mode = binding.arguments["x-match"];
    if (mode !== undefined && !modes.has(mode)) {
      throw preconditionFailed(`invalid x-match field value ${JSON.stringify(String(mode))}; expected all, any, all-with-x or any-with-x`);
    }
  }

  add(binding: Binding): void {
    const mode = (binding.arguments["x-match"] ?? "all") as string;
    const withX = mode.endsWith("-with-x");
    const wanted = Object.entries(binding.arguments)
      .filter(([name]) => name !== "x-match" && (withX || !name.startsWith("x-")))
      .map(([name, value]) => [name, value === null ? undefined : valueKey(value)] as const);
    this.rules.set(binding, { any: mode.startsWith("any"), wanted });
  }

  remove(binding: Binding): void {
    this.rules.delete(binding);
  }

  match(_routingKey: string, headers: () => Headers, found: (binding: Binding) => void): void {
    if (this.rules.size === 0) return;
    const given = headers() ?? {};
    const keys = new Map<string, string>();
    for (const [name, value] of Object.entries(given)) keys.set(name, valueKey(value));
    for (const [binding, rule] of this.rules) {
      const holds = ([name, value]: Rule["wanted"][number]): boolean => (value === undefined ? keys.has(name) : keys.get(name) === value);
      if (rule.any ? rule.wanted.some(holds) : rule.wanted.every(holds)) found(binding);
    }
  }
}
