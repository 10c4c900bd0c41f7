/** What the commands print: data on stdout, talk on stderr, colour only where somebody sees it. */
import { styleText } from "node:util";
import { MillraceError } from "../base/errors.ts";

type Style = "bold" | "dim" | "red" | "yellow" | "green";

export const style = (text: string, as: Style): string => {
  const colour = process.env.NO_COLOR === undefined && process.stderr.isTTY && process.env.TERM !== "dumb";
  return colour ? styleText(as, text) : text;
};

let readerGone = false;

/** Whoever has much to print, or waits for more, stops when nobody reads it any more. */
export const hasReader = (): boolean => !readerGone;

export const printData = (text: string): boolean => {
  if (!readerGone) process.stdout.write(`${text}\n`);
  return hasReader();
};

export const say = (text: string): void => {
  process.stderr.write(`${text}\n`);
};

export const sayError = (error: unknown): void => {
  const text = error instanceof MillraceError ? error.toText() : error instanceof Error ? (error.stack ?? error.message) : String(error);
  say(style(text, "red"));
};

/** A reader that went away (`millrace status | head`) is no error. */
export function ignoreClosedOutput(): void {
  for (const stream of [process.stdout, process.stderr]) {
    stream.on("error", (error: NodeJS.ErrnoException) => {
      if (error.code !== "EPIPE") throw error;
      if (stream === process.stdout) readerGone = true;
    });
  }
}
