import { MillraceError } from "../base/errors.ts";

/** What `tail` and `log` say of a directory that is not one of ours. */
export const noTopics = (where: string, hint: string): MillraceError =>
  new MillraceError("DATA_UNREADABLE", "there are no topics here", { domain: "user", where, hint });
