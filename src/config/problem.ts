import { MillraceError } from "../base/errors.ts";

export interface Problem {
  readonly code: "CONFIG_INVALID" | "CONFIG_UNKNOWN_KEY" | "CONFIG_UNREADABLE";
  readonly what: string;
  /** file:line:column, or the flag, or the variable. */
  readonly where: string;
  readonly hint?: string | undefined;
}

/** The first problem as an error; `others` are further ones, so that one run shows them all. */
export class ConfigError extends MillraceError {
  readonly others: readonly MillraceError[];

  constructor(problems: readonly [Problem, ...Problem[]]) {
    const [first, ...others] = problems;
    super(first.code, first.what, detailsOf(first));
    this.others = others.map((problem) => new MillraceError(problem.code, problem.what, detailsOf(problem)));
  }

  override toText(): string {
    return [super.toText(), ...this.others.map((other) => other.toText())].join("\n");
  }
}

const detailsOf = (problem: Problem) => ({
  domain: "user" as const,
  where: problem.where,
  ...(problem.hint === undefined ? {} : { hint: problem.hint }),
});

export function throwIfAny(problems: readonly Problem[]): void {
  const [first, ...others] = problems;
  if (first !== undefined) throw new ConfigError([first, ...others]);
}
