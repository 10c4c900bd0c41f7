/**
 * One process a data directory. Node has no flock, so the lock is a file `millrace.lock.<generation>` with the holder's pid
 * and start, made with O_EXCL:
 *
 * - The holder is the live process named in the highest generation. A lock whose process is gone is taken over by making the
 *   next generation: of two that try, one gets EEXIST.
 * - The name appears before its content. A lock without content is waited for; when none comes, its maker died between the
 *   two, and it is stale like any other.
 * - So is one that is damaged: whatever is in it that does not name a process.
 * - Should that maker only have been slow, both could believe they have it. Hence each, once its content is written, looks
 *   again, and steps back if there is a higher generation or a lower one that lives: each writes before it looks, so at least one
 *   of the two sees the other.
 *
 * Nothing is synced: after a loss of power no process of before runs, whatever the file says. The pid counts on this machine
 * only: a directory that two machines (or containers) mount is not protected.
 */
import path from "node:path";
import { setTimeout } from "node:timers/promises";
import { MillraceError } from "../base/errors.ts";
import type { FileSystem } from "../base/fileSystem.ts";
import { isCode, undefinedIfMissing } from "../base/systemError.ts";
import { removeIfThere } from "../base/wholeFile.ts";
import type { Json } from "./contract/keyedStore.ts";
import { nodeProcesses, type ProcessTable } from "./processTable.ts";

export interface LockOptions {
  readonly fileSystem: FileSystem;
  readonly directory: string;
  readonly processes?: ProcessTable;
  /** Not the clock's: a start that waits here must keep the process alive. */
  readonly pause?: (ms: number) => Promise<void>;
}

/** What the holder tells others, e.g. where it can be reached. */
export type LockInfo = Readonly<Record<string, Json>>;

export interface LockHolder {
  readonly pid: number;
  readonly info: LockInfo;
}

export interface DirectoryLock {
  /** Replaces what others read. */
  setInfo(info: LockInfo): Promise<void>;
  release(): Promise<void>;
}

interface LockContent extends LockHolder {
  readonly version: 1;
  readonly identity: string;
}

const fileName = /^millrace\.lock\.(\d+)$/;
/** How often, and how long in between, an empty lock is looked at before it counts as stale. */
const emptyLooks = 20;
const emptyLookMs = 25;
/** Starters that overtake each other; more than this is not a race but a loop. */
const attemptsMax = 100;

/** Takes the directory (it must exist), or throws DATA_DIRECTORY_LOCKED. */
export async function lockDirectory(options: LockOptions, info: LockInfo = {}): Promise<DirectoryLock> {
  const processes = options.processes ?? nodeProcesses;
  const identity = (await processes.identity(processes.ownPid)) ?? "unknown";
  const content: LockContent = { version: 1, pid: processes.ownPid, identity, info };
  for (let attempt = 0; attempt < attemptsMax; attempt++) {
    const before = await generations(options);
    const highest = before.at(-1) ?? 0;
    const holder = await liveHolder(options, processes, before);
    if (holder !== undefined) throw locked(options.directory, holder.pid);
    const own = highest + 1;
    if (!(await make(options, own, content))) continue; // another one was faster
    const standing = await readContent(options, own);
    // taken for stale, removed, and the number given again, all while this one was slow
    if (standing?.pid !== content.pid || standing.identity !== identity) continue;
    const others = (await generations(options)).filter((generation) => generation !== own);
    if (others.some((generation) => generation > own) || (await liveHolder(options, processes, others)) !== undefined) {
      await remove(options, own); // the next look tells who has it
      continue;
    }
    for (const stale of others) await remove(options, stale);
    return new HeldLock(options, own, content);
  }
  throw locked(options.directory, undefined);
}

/** Who holds the directory; undefined if nobody does. */
export async function readLock(options: LockOptions): Promise<LockHolder | undefined> {
  return liveHolder(options, options.processes ?? nodeProcesses, await generations(options));
}

class HeldLock implements DirectoryLock {
  constructor(
    private readonly options: LockOptions,
    private readonly generation: number,
    private readonly content: LockContent,
  ) {}

  async setInfo(info: LockInfo): Promise<void> {
    const { fileSystem, directory } = this.options;
    const target = lockPath(directory, this.generation);
    const temporary = `${target}.new`;
    await removeIfThere(fileSystem, temporary);
    await writeFile(fileSystem, temporary, { ...this.content, info });
    await fileSystem.rename(temporary, target);
  }

  release(): Promise<void> {
    return remove(this.options, this.generation);
  }
}

/** The highest generation whose process lives. */
async function liveHolder(options: LockOptions, processes: ProcessTable, generations: readonly number[]): Promise<LockHolder | undefined> {
  for (const generation of generations.toReversed()) {
    const content = await readContent(options, generation);
    if (content !== undefined && (await processes.identity(content.pid)) === content.identity)
      return { pid: content.pid, info: content.info };
  }
  return undefined;
}

/** Undefined if the file went away, stays without content, or says nothing of a process: then nobody holds it. */
async function readContent(
  { fileSystem, directory, pause = setTimeout }: LockOptions,
  generation: number,
): Promise<LockContent | undefined> {
  for (let look = 0; look < emptyLooks; look++) {
    try {
      const content: unknown = JSON.parse((await fileSystem.readFile(lockPath(directory, generation))).toString());
      return namesProcess(content) ? content : undefined;
    } catch (error) {
      if (isCode(error, "ENOENT")) return undefined;
      if (!(error instanceof SyntaxError)) throw error;
    }
    await pause(emptyLookMs);
  }
  return undefined;
}

/** No lock that is being written is whole JSON of something else: that is what somebody, or a damaged disk, put in its place. */
function namesProcess(content: unknown): content is LockContent {
  if (typeof content !== "object" || content === null) return false;
  const { pid, identity } = content as Partial<LockContent>;
  return Number.isInteger(pid) && typeof identity === "string";
}

async function make({ fileSystem, directory }: LockOptions, generation: number, content: LockContent): Promise<boolean> {
  try {
    await writeFile(fileSystem, lockPath(directory, generation), content);
    return true;
  } catch (error) {
    if (isCode(error, "EEXIST")) return false;
    throw error;
  }
}

async function writeFile(fileSystem: FileSystem, file: string, content: LockContent): Promise<void> {
  const handle = await fileSystem.open(file, "create");
  const bytes = Buffer.from(JSON.stringify(content));
  try {
    await handle.write(bytes, 0, bytes.length, 0);
  } finally {
    await handle.close();
  }
}

async function remove({ fileSystem, directory }: LockOptions, generation: number): Promise<void> {
  await fileSystem.removeFile(lockPath(directory, generation)).catch(undefinedIfMissing);
}

async function generations({ fileSystem, directory }: LockOptions): Promise<number[]> {
  const found = (await fileSystem.list(directory)).flatMap((name) => fileName.exec(name)?.[1] ?? []);
  return found.map(Number).sort((a, b) => a - b);
}

function lockPath(directory: string, generation: number): string {
  return path.join(directory, `millrace.lock.${generation}`);
}

function locked(directory: string, pid: number | undefined): MillraceError {
  const who = pid === undefined ? "several processes that are starting" : `process ${pid}`;
  return new MillraceError("DATA_DIRECTORY_LOCKED", `The data directory is in use by ${who}.`, {
    domain: "user",
    retryable: true,
    where: directory,
    hint: "Stop that process (millrace stop --data <directory>), or use another data directory.",
  });
}
