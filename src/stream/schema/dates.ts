const withoutZone = /^\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?$/;

/** ISO 8601 text or milliseconds as a Date; text without a zone is UTC. undefined: it is no date. */
export function toDate(from: unknown): Date | undefined {
  if (typeof from === "number") return checked(new Date(from));
  if (typeof from !== "string") return undefined;
  if (withoutZone.test(from)) return checked(new Date(`${from.replace(" ", "T")}Z`));
  // what Date reads beyond ISO 8601 ("Jan 1 2001") it reads as local time
  return /^\d{4}-\d\d-\d\d/.test(from) ? checked(new Date(from)) : undefined;
}

function checked(date: Date): Date | undefined {
  return Number.isNaN(date.getTime()) ? undefined : date;
}
