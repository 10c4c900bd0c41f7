/**
 * Standard Schema (standardschema.dev), the part that pipelines use: zod, and whoever else speaks it. `jsonSchema` is the optional half
 * that columns come from.
 */
// biome-ignore lint/suspicious/noExplicitAny: what a schema takes as input is of no interest here, and `unknown` would refuse every real schema.
export interface Schema<I = any, O = I> {
  readonly "~standard": {
    readonly version: 1;
    readonly vendor: string;
    // biome-ignore lint/suspicious/noExplicitAny: vendors differ in what options they take.
    readonly validate: (value: unknown, options?: any) => unknown;
    readonly types?: { readonly input: I; readonly output: O } | undefined;
  };
}

export interface SchemaIssue {
  readonly message: string;
  readonly path?: readonly (PropertyKey | { readonly key: PropertyKey })[] | undefined;
}

/** What `validate` returns; a Promise of it is refused where it is met. */
export type SchemaResult = { readonly value: unknown; readonly issues?: undefined } | { readonly issues: readonly SchemaIssue[] };

/** "delay: expected number; origin: too short", at most three. */
export function issuesText(issues: readonly SchemaIssue[]): string {
  const shown = issues.slice(0, 3).map((issue) => {
    const path = (issue.path ?? []).map((part) => String(typeof part === "object" ? part.key : part)).join(".");
    return path === "" ? issue.message : `${path}: ${issue.message}`;
  });
  return shown.join("; ") + (issues.length > 3 ? `; and ${issues.length - 3} more` : "");
}
