import { Address } from "../../src/record/address.ts";
import { ContentFormat, type HeaderValue, type Message } from "../../src/record/message.ts";
import { Receipt } from "../../src/record/receipt.ts";

export interface MessageOptions {
  readonly exchange?: string;
  readonly key?: string;
  readonly body?: string;
  readonly persistent?: boolean;
  readonly id?: string;
  readonly headers?: Readonly<Record<string, HeaderValue>>;
}

/** A message whose content is its body. */
export function message(options: MessageOptions, address?: Address): Message {
  const content = Buffer.from(options.body ?? "");
  return {
    address: address ?? new Address(options.exchange ?? "", options.key ?? ""),
    contentFormat: ContentFormat.amqp091,
    content,
    persistent: options.persistent ?? true,
    messageId: () => options.id,
    headers: () => options.headers,
    body: () => content,
    properties: () => Buffer.from([0, 0]),
  };
}

/** A receipt, and when it settles. */
export function confirm(): { readonly receipt: Receipt; readonly settled: Promise<void>; readonly isSettled: () => boolean } {
  let done = false;
  let settle: (failure: Error | undefined) => void;
  const settled = new Promise<void>((resolve, reject) => {
    settle = (failure) => (failure === undefined ? resolve() : reject(failure));
  });
  const receipt = new Receipt((failure) => {
    done = true;
    settle(failure);
  });
  return { receipt, settled, isSettled: () => done };
}
