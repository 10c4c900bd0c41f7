import type { BaselineConnection } from "./connection.ts";
import type { BaselineJournal } from "./journal.ts";

interface Exchange {
  readonly type: string;
  readonly bindings: { readonly key: string; readonly queue: BaselineQueue }[];
}

export interface BaselineConsumer {
  readonly connection: BaselineConnection;
  readonly channel: number;
  readonly noAck: boolean;
  /** The deliver frame up to the delivery tag. */
  readonly prefix: Buffer;
}

export interface Kept {
  readonly content: Buffer;
  /** Exchange and routing key as they stood in the publish. */
  readonly address: Buffer;
}

/** What waits is a view of the socket's chunk. A stream keeps nothing here: the journal has it. */
export class BaselineQueue {
  readonly consumers: BaselineConsumer[] = [];
  private waiting: (Kept | undefined)[] = [];
  private head = 0;
  private turn = 0;

  constructor(
    readonly durable: boolean,
    private readonly stream: boolean,
  ) {}

  publish(message: Kept): void {
    if (this.stream) return;
    if (this.head < this.waiting.length || !this.deliver(message)) this.waiting.push(message);
  }

  remove(consumer: BaselineConsumer): void {
    const at = this.consumers.indexOf(consumer);
    if (at !== -1) this.consumers.splice(at, 1);
  }

  pump(): void {
    for (let next = this.waiting[this.head]; next !== undefined && this.deliver(next); next = this.waiting[this.head]) {
      this.waiting[this.head++] = undefined;
    }
    if (this.head < 4096 || this.head * 2 < this.waiting.length) return;
    this.waiting = this.waiting.slice(this.head);
    this.head = 0;
  }

  private deliver(message: Kept): boolean {
    for (let tried = 0; tried < this.consumers.length; tried++) {
      const consumer = this.consumers[this.turn++ % this.consumers.length] as BaselineConsumer;
      if (consumer.connection.deliver(consumer, message, this)) return true;
    }
    return false;
  }
}

/** Exchanges, queues and the routes between them, cached by (exchange, key); the turn's end flushes all that it produced. */
export class BaselineBroker {
  readonly queues = new Map<string, BaselineQueue>();
  readonly exchanges = new Map<string, Exchange>();
  private routes = new Map<string, readonly BaselineQueue[]>();
  private readonly unflushed = new Set<BaselineConnection>();

  constructor(readonly journal: BaselineJournal | undefined) {}

  topologyChanged(): void {
    this.routes = new Map();
  }

  route(exchange: string, key: string): readonly BaselineQueue[] {
    const cacheKey = `${exchange}\0${key}`;
    let found = this.routes.get(cacheKey);
    if (found === undefined) {
      found = this.match(exchange, key);
      this.routes.set(cacheKey, found);
    }
    return found;
  }

  touched(connection: BaselineConnection): void {
    this.unflushed.add(connection);
  }

  turnEnds(): void {
    for (const connection of this.unflushed) connection.flush();
    this.unflushed.clear();
    this.journal?.commit();
  }

  private match(exchange: string, key: string): readonly BaselineQueue[] {
    if (exchange === "") return [this.queues.get(key)].filter((queue) => queue !== undefined);
    const { type, bindings } = this.exchanges.get(exchange) ?? { type: "direct", bindings: [] };
    const words = key.split(".");
    const fits = (pattern: string): boolean =>
      type === "fanout" || (type === "direct" ? pattern === key : wordsMatch(pattern.split("."), words, 0, 0));
    return [...new Set(bindings.filter((binding) => fits(binding.key)).map((binding) => binding.queue))];
  }
}

function wordsMatch(pattern: readonly string[], key: readonly string[], p: number, k: number): boolean {
  if (p === pattern.length) return k === key.length;
  if (pattern[p] === "#") return wordsMatch(pattern, key, p + 1, k) || (k < key.length && wordsMatch(pattern, key, p, k + 1));
  return k < key.length && (pattern[p] === "*" || pattern[p] === key[k]) && wordsMatch(pattern, key, p + 1, k + 1);
}
