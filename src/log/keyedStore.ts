import path from "node:path";
import type { Clock } from "../base/clock.ts";
import { closedIfFails } from "../base/closing.ts";
import { MillraceError } from "../base/errors.ts";
import type { File, FileSystem } from "../base/fileSystem.ts";
import type { Logger } from "../base/logger.ts";
import { RepeatedTrouble } from "../base/repeatedTrouble.ts";
import type { Json, KeyedStore } from "./contract/keyedStore.ts";
import { LiveEntries, putCopyInPlace, removeCopy, writeCopy } from "./keyedStoreCopy.ts";
import { encodeChange, encodeEntry, type StoreIdentity } from "./keyedStoreFormat.ts";
import { findStore, OpenTwins, twinsOf } from "./keyedStoreTwins.ts";
import { RetryPause } from "./retryPause.ts";

export interface KeyedStoreOptions extends StoreIdentity {
  readonly fileSystem: FileSystem;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Below this much that is dead a rewrite is not worth its syncs. */
  readonly deadBytesMin?: number;
  /**
   * What is to change, with the cut, where a start has to cut the end off, as neither file has it whole: it was torn while it was written,
   * and never confirmed; or it is the last change, and was damaged since, in both.
   */
  readonly whenCut?: (entries: ReadonlyMap<string, Json>) => ReadonlyMap<string, Json>;
}

const deadBytesMinDefault = 64 * 1024;

/** The folder must exist; the files are made if they do not. */
export async function openKeyedStore(options: KeyedStoreOptions): Promise<KeyedStore> {
  const { fileSystem, logger } = options;
  for (const twin of twinsOf(options)) await removeCopy(fileSystem, twin);
  const found = await findStore(fileSystem, options, logger);
  if (found === undefined) return writtenAnew(options, new LiveEntries());
  const { live, bytes, end } = found.counting;
  if (!found.isSound) {
    const changes = end === bytes?.length ? undefined : options.whenCut?.(live.values);
    for (const [key, value] of changes ?? []) live.set(key, value, encodeChange(key, value).length);
    return writtenAnew(options, live);
  }
  const store = new FileKeyedStore(options, live, await openAgain(options, bytes as Buffer), end);
  try {
    await store.rewriteIfWorthIt();
  } catch (error) {
    await store.close().catch(() => undefined);
    throw error;
  }
  return store;
}

/** What a killed process wrote may be in the page cache only, and after a sync that failed count as clean there: it is written again. */
async function openAgain(options: KeyedStoreOptions, bytes: Buffer): Promise<OpenTwins> {
  const { fileSystem } = options;
  const handles: File[] = [];
  const twins = new OpenTwins(handles);
  return closedIfFails(twins, async () => {
    for (const { path: file } of twinsOf(options)) handles.push(await fileSystem.open(file, "write"));
    await twins.writeAgain(bytes);
    await fileSystem.syncDirectory(path.dirname(options.path));
    return twins;
  });
}

async function writtenAnew(options: KeyedStoreOptions, live: LiveEntries): Promise<KeyedStore> {
  const { twins, end } = await writeCopies(options, live);
  await closedIfFails(twins, () => putInPlace(options));
  return new FileKeyedStore(options, live, twins, end);
}

interface WrittenTwins {
  readonly twins: OpenTwins;
  readonly end: number;
}

/** Both on the disk, under other names than the store's. */
async function writeCopies(options: KeyedStoreOptions, live: LiveEntries): Promise<WrittenTwins> {
  const handles: File[] = [];
  const twins = new OpenTwins(handles);
  return closedIfFails(twins, async () => {
    let end = 0;
    for (const twin of twinsOf(options)) {
      const written = await writeCopy(options.fileSystem, twin, live);
      handles.push(written.handle);
      end = written.end;
    }
    return { twins, end };
  });
}

/** Until it resolves nobody knows which files a crash leaves. */
async function putInPlace(options: KeyedStoreOptions): Promise<void> {
  const { fileSystem } = options;
  for (const twin of twinsOf(options)) await putCopyInPlace(fileSystem, twin);
  await fileSystem.syncDirectory(path.dirname(options.path));
}

interface Waiting {
  readonly changes: ReadonlyMap<string, Json | null>;
  readonly encoded: readonly string[];
  readonly resolve: () => void;
  readonly reject: (error: MillraceError) => void;
}

/**
 * A write or sync that failed leaves nobody knowing what the files' ends hold, so nothing is written to them again: what is known to be
 * durable is written anew and put in their place, again and again until the disk lets it. Changes are refused meanwhile, so that none which is
 * confirmed can lie behind one of which nobody knows; whatever the moment of a crash, that one is there whole or not at all, and once
 * changes are taken again it is not.
 */
class FileKeyedStore implements KeyedStore {
  private waiting: Waiting[] = [];
  private working: Promise<void> | undefined;
  private closing: MillraceError | undefined;
  /** Why no change is taken until the files were written anew. */
  private trouble: MillraceError | undefined;
  private readonly news = new RepeatedTrouble();
  private readonly retries: RetryPause;
  private closed = false;
  private rewriteNotBefore = 0;

  constructor(
    private readonly options: KeyedStoreOptions,
    private readonly live: LiveEntries,
    private twins: OpenTwins,
    private end: number,
  ) {
    this.retries = new RetryPause(options.clock);
  }

  get entries(): ReadonlyMap<string, Json> {
    return this.live.values;
  }

  change(changes: ReadonlyMap<string, Json | null>): Promise<void> {
    const refusal = this.closing ?? this.trouble;
    if (refusal !== undefined) return Promise.reject(refusal);
    if (changes.size === 0) return Promise.resolve();
    const encoded = Array.from(changes, ([key, value]) => encodeChange(key, value));
    return new Promise((resolve, reject) => {
      this.waiting.push({ changes, encoded, resolve, reject });
      this.working ??= this.commitAll();
    });
  }

  async close(): Promise<void> {
    this.closing ??= closedError(this.options.path);
    this.retries.endNow();
    await this.working;
    if (this.closed) return;
    this.closed = true;
    await this.twins.close();
  }

  /** To be called while nothing is written. Throws if nobody knows which files have the store's names now. */
  async rewriteIfWorthIt(): Promise<void> {
    const dead = this.end - this.live.bytes;
    if (dead < (this.options.deadBytesMin ?? deadBytesMinDefault) || dead < this.live.bytes || this.end < this.rewriteNotBefore) return;
    const { fileSystem, logger, path: file } = this.options;
    let written: WrittenTwins;
    try {
      written = await writeCopies(this.options, this.live);
    } catch (error) {
      this.rewriteNotBefore = this.end * 2; // a full disk, say: the files in use are whole and go on
      logger.warn("could not rewrite a keyed store", { file, error });
      for (const twin of twinsOf(this.options)) await removeCopy(fileSystem, twin).catch(() => undefined);
      return;
    }
    await this.goOnIn(written);
  }

  /** One entry and one sync for all that waits; what comes meanwhile is in the next. */
  private async commitAll(): Promise<void> {
    await Promise.resolve(); // changes of the same turn go together
    while (this.waiting.length > 0) {
      try {
        await this.commit(this.waiting.splice(0));
        await this.rewriteIfWorthIt();
      } catch (error) {
        await this.beginAnew(error);
      }
    }
    this.working = undefined;
  }

  private async commit(group: readonly Waiting[]): Promise<void> {
    try {
      const entry = encodeEntry(group.flatMap((one) => one.encoded));
      await this.twins.append(entry, this.end);
      this.end += entry.length;
    } catch (error) {
      const failure = failedError(this.options.path, error);
      for (const one of group) one.reject(failure);
      throw failure;
    }
    for (const one of group) {
      let n = 0;
      for (const [key, value] of one.changes) this.live.set(key, value, (one.encoded[n++] as string).length);
      one.resolve();
    }
    this.retries.reset();
  }

  /** Ends when changes are taken again, or the store is closed. */
  private async beginAnew(cause: unknown): Promise<void> {
    const { logger, path: file } = this.options;
    const refusal = unavailableError(file, cause);
    this.trouble = refusal;
    for (const one of this.waiting.splice(0)) one.reject(refusal);
    logger.error("keyed store failed", { file, error: cause });
    for (;;) {
      await this.retries.pause();
      if (this.closing !== undefined) return;
      try {
        await this.goOnIn(await writeCopies(this.options, this.live));
        break;
      } catch (error) {
        if (this.news.isNews(error)) logger.warn("a keyed store's disk does not work yet", { file, error });
      }
    }
    this.news.over();
    this.trouble = undefined;
    logger.info("a keyed store takes changes again", { file });
  }

  private async goOnIn({ twins, end }: WrittenTwins): Promise<void> {
    await closedIfFails(twins, () => putInPlace(this.options));
    const before = this.twins;
    this.twins = twins;
    this.end = end;
    await before.close().catch(() => undefined); // nothing depends on them any more
  }
}

const closedError = (where: string): MillraceError =>
  new MillraceError("KEYED_STORE_CLOSED", "The keyed store is closed.", { domain: "internal", where });

const failedError = (where: string, cause: unknown): MillraceError =>
  new MillraceError("KEYED_STORE_FAILED", "A write of the keyed store failed; after a crash now the change is there whole or not at all.", {
    domain: "external",
    retryable: true,
    where,
    cause,
    hint: "Look after the disk; the store tries again by itself, and then the change is surely not there.",
  });

const unavailableError = (where: string, cause: unknown): MillraceError =>
  new MillraceError("KEYED_STORE_UNAVAILABLE", "A write of the keyed store failed before; the change is not made.", {
    domain: "external",
    retryable: true,
    where,
    cause,
    hint: "Look after the disk; the store tries again by itself and then takes changes.",
  });
