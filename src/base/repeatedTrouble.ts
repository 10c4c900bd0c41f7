import { MillraceError } from "./errors.ts";

/**
 * What is tried again and again fails again and again: worth a line when it begins, when it becomes another failure, and when it is over.
 */
export class RepeatedTrouble {
  private last: string | undefined;

  /** True if it is not what it was the last time. */
  isNews(error: unknown): boolean {
    const text = error instanceof MillraceError ? `${error.code} ${error.message}` : String(error);
    const isNews = text !== this.last;
    this.last = text;
    return isNews;
  }

  /** It worked: what comes next is news again. True the first time, when that is worth a line. */
  over(): boolean {
    const wasThere = this.last !== undefined;
    this.last = undefined;
    return wasThere;
  }
}
