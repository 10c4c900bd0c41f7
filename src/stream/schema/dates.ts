const withoutZone = /^\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?$/;

/** ISO 8601 text or milliseconds as a Date; text without a zone is UTC. undefined: it is no date. */
export function toDate(from: unknown): Date | undefined {
  if (typeof from === "number") return checked(new Date(from));
  if (typeof from !== "string") return undefined;
  const usual = parseUsual(from);
  if (usual !== undefined) return new Date(usual);
  if (withoutZone.test(from)) return checked(new Date(`${from.replace(" ", "T")}Z`));
  // what Date reads beyond ISO 8601 ("Jan 1 2001") it reads as local time
  return /^\d{4}-\d\d-\d\d/.test(from) ? checked(new Date(from)) : undefined;
}

function checked(date: Date): Date | undefined {
  return Number.isNaN(date.getTime()) ? undefined : date;
}

/**
 * Milliseconds of "2001-01-01T00:10:00.000Z", what Date.toJSON writes, and of the same without milliseconds: a fifth of what Date's own
 * parser takes. undefined for everything that is written otherwise or needs a calendar to be judged.
 */
function parseUsual(text: string): number | undefined {
  const { length } = text;
  if ((length !== 24 && length !== 20) || text.charCodeAt(length - 1) !== 90 /* Z */) return undefined;
  if (text[4] !== "-" || text[7] !== "-" || text[10] !== "T" || text[13] !== ":" || text[16] !== ":") return undefined;
  const year = twoDigits(text, 0) * 100 + twoDigits(text, 2);
  const month = twoDigits(text, 5);
  const day = twoDigits(text, 8);
  const hour = twoDigits(text, 11);
  const minute = twoDigits(text, 14);
  const second = twoDigits(text, 17);
  let ms = 0;
  if (length === 24) {
    if (text[19] !== ".") return undefined;
    ms = twoDigits(text, 20) * 10 + digit(text, 22);
  }
  const sound = year >= 100 && month >= 1 && month <= 12 && day >= 1 && day <= 28 && hour <= 23 && minute <= 59 && second <= 59 && ms >= 0;
  return sound ? Date.UTC(year, month - 1, day, hour, minute, second, ms) : undefined; // NaN compares as unsound
}

const twoDigits = (text: string, at: number): number => digit(text, at) * 10 + digit(text, at + 1);

function digit(text: string, at: number): number {
  const value = text.charCodeAt(at) - 48;
  return value >= 0 && value <= 9 ? value : Number.NaN;
}
