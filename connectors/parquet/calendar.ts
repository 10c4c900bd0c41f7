import { MillraceError } from "../../src/base/errors.ts";

const dayMs = 86_400_000;
const hourMs = 3_600_000;
const minuteMs = 60_000;
/** Since then every zone's offset is whole minutes, so that a minute lies in one hour and one day. */
const wholeMinutesSince = Date.UTC(1973, 0, 1);

/**
 * Partition values of a time: `2001-01`, `2001-01-01`, `2001-01-01T05`. UTC unless a zone is given (an IANA name). Each contains the
 * longer period, so that one of them alone tells partitions apart.
 */
export const month = partitionValueOf(7, dayMs);
export const day = partitionValueOf(10, dayMs);
export const hour = partitionValueOf(13, hourMs);

function partitionValueOf(length: number, unitMs: number): (time: Date, zone?: string) => string {
  let lastUnit = Number.NaN;
  let lastValue = "";
  const zones = new Map<string, { readonly format: Intl.DateTimeFormat; minute: number; value: string }>();
  return (time, zone = "UTC") => {
    const ms = time.getTime();
    if (Number.isNaN(ms)) throw invalidTime();
    if (zone === "UTC") {
      // rows come roughly by time: the last answer fits nearly always, and making it costs 30 times as much
      const unit = Math.floor(ms / unitMs);
      if (unit !== lastUnit) {
        lastValue = isoPrefix(ms, length);
        lastUnit = unit;
      }
      return lastValue;
    }
    let known = zones.get(zone);
    if (known === undefined) {
      known = { format: zoneFormat(zone), minute: Number.NaN, value: "" };
      zones.set(zone, known);
    }
    const minute = Math.floor(ms / minuteMs);
    if (minute !== known.minute || ms < wholeMinutesSince) {
      known.value = isoPrefix(localMs(known.format, time), length);
      known.minute = minute;
    }
    return known.value;
  };
}

function isoPrefix(ms: number, length: number): string {
  const text = new Date(ms).toISOString();
  return text.slice(0, length + text.length - "2001-01-01T00:00:00.000Z".length);
}

/** What the zone's clock shows, as if it were UTC. */
function localMs(format: Intl.DateTimeFormat, time: Date): number {
  const parts: Record<string, number> = {};
  for (const { type, value } of format.formatToParts(time)) parts[type] = Number(value);
  const local = new Date(0);
  local.setUTCFullYear(parts["year"] as number, (parts["month"] as number) - 1, parts["day"]);
  local.setUTCHours(parts["hour"] as number);
  return local.getTime();
}

function zoneFormat(zone: string): Intl.DateTimeFormat {
  try {
    const options = { year: "numeric", month: "numeric", day: "numeric", hour: "numeric", hourCycle: "h23" } as const;
    return new Intl.DateTimeFormat("en-US-u-ca-iso8601-nu-latn", { ...options, timeZone: zone });
  } catch (error) {
    throw new MillraceError("UNKNOWN_TIME_ZONE", `"${zone}" is not a time zone`, {
      domain: "user",
      hint: 'Use a name of the IANA list, such as "Europe/Berlin", or leave it out for UTC.',
      cause: error,
    });
  }
}

function invalidTime(): MillraceError {
  return new MillraceError("ROW_REFUSED", "the time that a partition is made of is an invalid Date", {
    domain: "user",
    hint: "Filter such rows out, or give them a time before the sink.",
  });
}
