/** By reason, how the lines begin on which the blocks begin. */
type Places = Readonly<Record<string, readonly string[]>>;

/**
 * By file, the places that need not be reached. never: it must not be reached, or its place here is wrong. rare: it takes more luck than
 * some hundred seeds have; the test that is named meets it for sure. What is not here must be entered.
 */
export type ByFile = Readonly<Record<string, { readonly never?: Places; readonly rare?: Places }>>;
