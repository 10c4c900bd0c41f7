import type { LogFields, Logger } from "../base/logger.ts";
import { toParts } from "./errorTransfer.ts";
import type { FromWorker } from "./pipelineMessages.ts";

/** Logs through the node, which knows where to. */
export class WorkerLogger implements Logger {
  constructor(
    private readonly tell: (message: FromWorker) => void,
    private readonly fields: LogFields,
  ) {}

  debug = (message: string, fields?: LogFields): void => this.send("debug", message, fields);
  info = (message: string, fields?: LogFields): void => this.send("info", message, fields);
  warn = (message: string, fields?: LogFields): void => this.send("warn", message, fields);
  error = (message: string, fields?: LogFields): void => this.send("error", message, fields);
  child = (fields: LogFields): Logger => new WorkerLogger(this.tell, { ...this.fields, ...fields });

  private send(level: "debug" | "info" | "warn" | "error", message: string, fields: LogFields = {}): void {
    this.tell({ kind: "log", level, message, fields: cloneable({ ...this.fields, ...fields }) });
  }
}

/** Errors keep what they say; what cannot cross to another thread becomes text. */
function cloneable(fields: LogFields): LogFields {
  return Object.fromEntries(
    Object.entries(fields).map(([key, value]) => {
      if (value instanceof Error) return [key, toParts(value, "ERROR", value.message)];
      return [key, typeof value === "object" && value !== null ? (JSON.parse(JSON.stringify(value)) as unknown) : primitive(value)];
    }),
  );
}

const primitive = (value: unknown): unknown => (typeof value === "function" || typeof value === "symbol" ? String(value) : value);
