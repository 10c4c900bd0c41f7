import { describe, expect, test } from "vitest";
import { type Branch, type FaultBranch, noBranches, noFaultBranches } from "./life/branches.ts";
import { type IgnoreSync, JournalLife } from "./life/journalLife.ts";

const processes = 6;
/** Against a hang, not for speed: another machine is several times as slow. */
const timeout = 180_000;

describe("the journal beside a model, through losses of power, kills and restarts", () => {
  test("what was confirmed is there, what was surely acknowledged is not, and nothing else is", { timeout }, async () => {
    const met: Record<Branch, number> = { ...noBranches };
    for (let seed = 0; seed < 150; seed++) {
      const life = new JournalLife(seed);
      expect(await life.run(processes)).toBeUndefined();
      for (const branch of Object.keys(met) as Branch[]) met[branch] += life.branches.met[branch];
    }
    for (const [branch, count] of Object.entries(met)) expect(count, branch).toBeGreaterThan(0);
  });

  test("the same on a disk that refuses writes, syncs and changes of names, a few times in a row", { timeout }, async () => {
    const met: Record<FaultBranch, number> = { ...noFaultBranches };
    for (let seed = 0; seed < 170; seed++) {
      const life = new JournalLife(seed, { faulty: true });
      expect(await life.run(processes)).toBeUndefined();
      for (const branch of Object.keys(met) as FaultBranch[]) met[branch] += life.branches.metFaults[branch];
    }
    for (const [branch, count] of Object.entries(met)) expect(count, branch).toBeGreaterThan(0);
  });

  /** Each sync that the journal makes, by where it stands in the code. */
  const syncs: Record<string, IgnoreSync> = {
    "of a commit": (path, kind, _, opening) => kind === "file" && !opening && path.endsWith(".journal"),
    "of a new or reused file before it gets its name": (path, kind) => kind === "file" && path.endsWith(".spare"),
    "of the last files at the start": (path, kind, _, opening) => kind === "file" && opening && path.endsWith(".journal"),
    "of the folder when a file gets its name": (_path, kind, change) => kind === "directory" && /^rename .*spare .*journal$/.test(change),
    "of the folder before a file is reused": (_path, kind, change) => kind === "directory" && /^rename .*journal .*spare$/.test(change),
    "of the folder after a file was removed": (_path, kind, change) => kind === "directory" && /^remove .*journal$/.test(change),
    "of a segment before it gets its name": (path, kind) => kind === "file" && path.endsWith(".segment-making"),
    "of the folder when a segment gets its name": (_path, kind, change) => kind === "directory" && /^rename .*segment-making /.test(change),
    "of a list of what is gone": (path, kind) => kind === "file" && path.endsWith(".dead-making"),
    "of the folder when such a list gets its name": (_path, kind, change) => kind === "directory" && /^rename .*dead-making /.test(change),
    "of the folder after a segment was removed": (_path, kind, change) => kind === "directory" && /^remove .*segment$/.test(change),
    "of the folder at the start": (path, kind, _, opening) => kind === "directory" && opening && path === "/journal",
  };

  /** Some of them are missed only if the power goes right after another change of names. */
  const diesAfter: Record<string, readonly RegExp[]> = {
    "of the folder when such a list gets its name": [/^rename .*dead-making /, /^rename .*journal /],
    "of the folder after a file was removed": [/^remove .*journal$/, /^remove .*journal$/],
    "of the folder after a segment was removed": [/^remove .*segment$/, /^remove .*dead$/],
  };

  test.each(Object.entries(syncs))("without the sync %s it finds a loss", { timeout }, async (what, ignoreSync) => {
    let found: string | undefined;
    const after = diesAfter[what];
    const options = { ignoreSync, ...(after !== undefined && { diesAfter: after }) };
    for (let seed = 0; seed < 1000 && found === undefined; seed++) found = await new JournalLife(seed, options).run(processes);
    expect(found).toBeDefined();
  });

  test("without the sync of what goes on in another file it finds a loss", { timeout }, async () => {
    const ignoreSync: IgnoreSync = (path, kind, _change, opening, down) => down && !opening && kind === "file" && path.endsWith(".journal");
    let found: string | undefined;
    for (let seed = 0; seed < 1000 && found === undefined; seed++) {
      found = await new JournalLife(seed, { ignoreSync, faulty: true }).run(processes);
    }
    expect(found).toBeDefined();
  });
});
