import type { RowSchema } from "../contract/columns.ts";

/** Same names, types and order. */
export function sameColumns(one: RowSchema, other: RowSchema): boolean {
  return (
    one.length === other.length &&
    one.every((column, index) => {
      const twin = other[index];
      return twin !== undefined && twin.name === column.name && twin.type === column.type && twin.optional === column.optional;
    })
  );
}
