/** Logs go to stderr: as JSON lines through pino, or as lines for people, which are ours. */
import { styleText } from "node:util";
import { destination, type Logger as Pino, pino } from "pino";
import { MillraceError } from "../base/errors.ts";
import { type LogFields, type Logger, silentLogger } from "../base/logger.ts";

type Level = "debug" | "info" | "warn" | "error";

export interface LoggingOptions {
  readonly level: Level | "silent";
  readonly format: "auto" | "lines" | "json";
}

export function createLogger({ level, format }: LoggingOptions): Logger {
  if (level === "silent") return silentLogger;
  const forPeople = format === "lines" || (format === "auto" && process.stderr.isTTY);
  if (forPeople)
    return new LineLogger(level, {}, process.stderr.isTTY && process.env.NO_COLOR === undefined, (line) => process.stderr.write(line));
  return new PinoLogger(pino({ level, base: { pid: process.pid } }, destination({ fd: 2, sync: true })));
}

class PinoLogger implements Logger {
  constructor(private readonly to: Pino) {}

  debug = (message: string, fields: LogFields = {}): void => this.to.debug(plain(fields), message);
  info = (message: string, fields: LogFields = {}): void => this.to.info(plain(fields), message);
  warn = (message: string, fields: LogFields = {}): void => this.to.warn(plain(fields), message);
  error = (message: string, fields: LogFields = {}): void => this.to.error(plain(fields), message);
  child = (fields: LogFields): Logger => new PinoLogger(this.to.child(plain(fields)));
}

const levels: readonly Level[] = ["debug", "info", "warn", "error"];
const colours = { debug: "dim", info: "green", warn: "yellow", error: "red" } as const;

/** `12:00:01.123 info  message key=value`; an error's further lines stand below. */
export class LineLogger implements Logger {
  constructor(
    private readonly level: Level,
    private readonly fields: LogFields,
    private readonly colour: boolean,
    private readonly write: (line: string) => void,
  ) {}

  debug = (message: string, fields?: LogFields): void => this.line("debug", message, fields);
  info = (message: string, fields?: LogFields): void => this.line("info", message, fields);
  warn = (message: string, fields?: LogFields): void => this.line("warn", message, fields);
  error = (message: string, fields?: LogFields): void => this.line("error", message, fields);
  child = (fields: LogFields): Logger => new LineLogger(this.level, { ...this.fields, ...fields }, this.colour, this.write);

  private line(level: Level, message: string, fields: LogFields = {}): void {
    if (levels.indexOf(level) < levels.indexOf(this.level)) return;
    const { error, ...others } = { ...this.fields, ...fields };
    const time = new Date().toISOString().slice(11, 23);
    const name = this.colour ? styleText(colours[level], level.padEnd(5)) : level.padEnd(5);
    const pairs = Object.entries(plain(others)).map(
      ([key, value]) => ` ${key}=${typeof value === "string" ? value : JSON.stringify(value)}`,
    );
    const below = error === undefined ? "" : `\n${indented(textOf(error))}`;
    this.write(`${time} ${name} ${message}${pairs.join("")}${below}\n`);
  }
}

const indented = (text: string): string => text.replaceAll(/^/gm, "             ");

const textOf = (error: unknown): string =>
  error instanceof MillraceError ? error.toText() : error instanceof Error ? (error.stack ?? error.message) : String(error);

/** JSON has no place for an error's own fields, nor for a bigint. */
function plain(fields: LogFields): Record<string, unknown> {
  return Object.fromEntries(Object.entries(fields).map(([key, value]) => [key, plainValue(value)]));
}

function plainValue(value: unknown): unknown {
  if (typeof value === "bigint") return value.toString();
  if (!(value instanceof Error)) return value;
  const { message, stack } = value;
  if (!(value instanceof MillraceError)) return { message, stack };
  const { code, domain, where, hint, cause } = value;
  return { code, domain, message, where, hint, cause: cause === undefined ? undefined : plainValue(cause) };
}
