import type { JournalPosition } from "../log/contract/queueJournal.ts";
import type { ContentFormat, Message } from "../record/message.ts";

/** A queue's copy of a message: where it is, not what is in it. */
export interface Copy {
  readonly offset: number;
  readonly position: JournalPosition;
  /** Of the content, as it will be read back. */
  readonly bytes: number;
  /** Its end must be written down, because a restart would bring it back. */
  readonly durable: boolean;
  readonly redelivered: boolean;
  /** The content, if it is in memory. */
  readonly content: KeptContent | undefined;
}

/** A message's content in memory, shared by the queues that it went to. */
export interface KeptContent {
  readonly address: Buffer;
  readonly contentFormat: ContentFormat;
  readonly content: Buffer;
}

export const keptContentOf = (message: Message): KeptContent => ({
  address: message.address.encoded,
  contentFormat: message.contentFormat,
  content: Buffer.from(message.content),
});
