/** Bytes that a disk has changed behind our back: said with file and position, and everything else is served. */
import { expect, test } from "vitest";
import type { FileSystem } from "../../../src/base/fileSystem.ts";
import { Random } from "../../../src/base/random.ts";
import { commitEntryBytes, cutEntryBytes, fileHeaderBytes } from "../../../src/log/journal/files/format.ts";
import { SimulatedFileSystem } from "../../support/simulatedFileSystem.ts";
import { append, fileBytes, type Opened, open, patch, settled } from "./opened.ts";

const nameOf = (position: number): string => `/journal/${String(Math.floor(position / fileBytes)).padStart(12, "0")}.journal`;

async function flip(fs: FileSystem, file: string, at: number, bit: number): Promise<void> {
  const bytes = await fs.readFile(file);
  await patch(fs, file, at, Buffer.of((bytes[at] as number) ^ (1 << bit)));
}

async function copyFile(from: FileSystem, to: FileSystem, name: string): Promise<void> {
  const bytes = await from.readFile(name);
  const file = await to.open(name, "create");
  await file.write(bytes, 0, bytes.length, 0);
  await file.close();
}

const liveOf = ({ replayed }: Opened): number[] => [...replayed.live.keys()].map((key) => Number(key.slice(2)));

async function closed(): Promise<{ readonly fs: SimulatedFileSystem; readonly positions: readonly number[] }> {
  const fs = new SimulatedFileSystem({ seed: 1 });
  const { journal } = await open(fs);
  const positions: number[] = [];
  for (let n = 0; n < 60; n++) {
    positions.push(append(journal, n, `content ${n} `.repeat(40)));
    if (n % 3 === 0) await journal.sync();
  }
  await journal.close();
  return { fs, positions };
}

test("a flipped bit anywhere in a finished file: the start says where, and only what it is in is missing", {
  timeout: 120_000,
}, async () => {
  const { fs, positions } = await closed();
  const files = [...new Set(positions.map(nameOf))].slice(0, -1);
  expect(files.length).toBeGreaterThan(2);
  const random = new Random(7);
  const met = { header: 0, message: 0, other: 0, nothing: 0 };
  for (let round = 0; round < 200; round++) {
    const file = random.pick(files);
    // many of them where the structure is
    const at = random.below(3) === 0 ? random.below(fileHeaderBytes + 100) : random.below(fileBytes);
    const bit = random.below(8);
    await flip(fs, file, at, bit);
    const opened = await open(fs);
    const inFile = positions.filter((position) => nameOf(position) === file);
    const ends = [...inFile.slice(1), Number.POSITIVE_INFINITY];
    const hit = inFile.findIndex(
      (position, n) =>
        at >= position % fileBytes && at < ((ends[n] as number) === Number.POSITIVE_INFINITY ? fileBytes : (ends[n] as number) % fileBytes),
    );
    const live = liveOf(opened);
    const lost = positions.flatMap((_, n) => (live.includes(n) ? [] : [n]));
    expect(live, `byte ${at} of ${file}`).toEqual([...live].sort((a, b) => a - b));
    expect(lost.length, `byte ${at} of ${file}`).toBeLessThanOrEqual(1);
    if (lost.length > 0) expect(lost[0]).toBe(positions.indexOf(inFile[hit] as number));
    if (opened.errors.length === 0)
      met.nothing++; // behind the end, or a byte that means nothing
    else {
      expect(opened.errors.length).toBe(1);
      const { file: saidFile, position } = opened.errors[0] as { file: string; position: number };
      expect(saidFile).toBe(file);
      expect(position).toBeLessThanOrEqual(at);
      expect(opened.journal.stats.damagedEntries).toBe(at < fileHeaderBytes ? 0 : 1);
      met[at < fileHeaderBytes ? "header" : lost.length > 0 ? "message" : "other"]++;
    }
    if (lost.length > 0) expect(opened.errors.length).toBe(1);
    // and it goes on
    for (const message of opened.replayed.messages) opened.journal.pin(message.position);
    for (const n of live)
      expect((await opened.journal.read(opened.replayed.live.get(`1/${n}`)?.position as number)).content.toString()).toBe(
        `content ${n} `.repeat(40),
      );
    await opened.journal.close();
    await flip(fs, file, at, bit);
  }
  for (const [what, count] of Object.entries(met)) expect(count, what).toBeGreaterThan(0);
});

test("a lost sector costs the messages that it touches, and those of the same write behind it", async () => {
  const { fs, positions } = await closed();
  const fourth = positions[4] as number;
  await patch(fs, nameOf(fourth), (fourth % fileBytes) - 100, Buffer.alloc(512));
  const opened = await open(fs);
  const live = liveOf(opened);
  expect(opened.errors).toMatchObject([{ file: nameOf(fourth) }]);
  expect(live.filter((n) => n < 3)).toEqual([0, 1, 2]);
  expect(live).toEqual(expect.arrayContaining(positions.map((_, n) => n).filter((n) => n > 6)));
});

test("damage in the last file, in what was synced before later writes, is no torn end; in the last write it is one", async () => {
  const fs = new SimulatedFileSystem({ seed: 1 });
  const { journal } = await open(fs);
  const positions: number[] = [];
  for (let n = 0; n < 5; n++) {
    positions.push(append(journal, n, "x".repeat(100)));
    await journal.sync();
  }
  await journal.close();
  const [second, last] = [positions[1] as number, positions[4] as number];
  await flip(fs, nameOf(second), (second % fileBytes) + 50, 3);
  const opened = await open(fs);
  expect(liveOf(opened)).toEqual([0, 2, 3, 4]);
  expect(opened.errors).toMatchObject([{ file: nameOf(second), position: second % fileBytes }]);
  expect(await settled((receipt) => append(opened.journal, 5, "after", receipt))).toBeUndefined();
  await opened.journal.close();
  expect(liveOf(await open(fs))).toEqual([0, 2, 3, 4, 5]);

  const other = new SimulatedFileSystem({ seed: 2 });
  const torn = await open(other);
  for (let n = 0; n < 5; n++) {
    append(torn.journal, n, "x".repeat(100));
    await torn.journal.sync();
  }
  await torn.journal.close();
  await flip(other, nameOf(last), (last % fileBytes) + 50, 3);
  const cut = await open(other);
  expect(liveOf(cut)).toEqual([0, 1, 2, 3]);
  expect(cut.errors).toEqual([]);
  expect(cut.said).toContain("cut a torn write off the end of the journal");
});

test("a flipped bit anywhere in the first entry of the only file, which says whose journal it is: every message is there", async () => {
  const fs = new SimulatedFileSystem({ seed: 1 });
  const { journal } = await open(fs);
  for (let n = 0; n < 3; n++) {
    append(journal, n, "x".repeat(100));
    await journal.sync();
  }
  await journal.close();
  const first = nameOf(fileBytes);
  for (let at = fileHeaderBytes; at < fileHeaderBytes + commitEntryBytes; at++) {
    const copy = new SimulatedFileSystem({ seed: 2 });
    await copy.makeDirectory("/journal");
    await copyFile(fs, copy, first);
    await flip(copy, first, at, at % 8);
    const opened = await open(copy);
    expect(liveOf(opened), `byte ${at}`).toEqual([0, 1, 2]);
    expect(opened.errors[0], `byte ${at}`).toMatchObject({ file: first, position: fileHeaderBytes });
    await opened.journal.close();
  }
});

test.each(["alone", "with others"])("a damaged file is put aside when it is empty (%s), not used again", async (how) => {
  const { fs, positions } = await closed();
  const file = nameOf(positions[0] as number);
  await flip(fs, file, (positions[1] as number) % fileBytes, 0);
  const { journal, replayed } = await open(fs);
  for (const { position } of replayed.messages) journal.pin(position);
  for (const { position, destinations } of replayed.messages) {
    if (how === "alone" && nameOf(position) !== file) continue;
    journal.acknowledge(1, destinations[0]?.offset as number, position);
  }
  for (let n = 0; n < 60; n++) {
    append(journal, 100 + n, "x".repeat(500));
    await journal.sync();
  }
  const names = await fs.list("/journal");
  expect(names).toContain(`${file.slice("/journal/".length)}.damaged`);
  expect(names).not.toContain(file.slice("/journal/".length));
  await journal.close();
});

test("what a damaged entry may have said: an acknowledgement is forgotten, so that the message comes again", async () => {
  const fs = new SimulatedFileSystem({ seed: 1 });
  const { journal } = await open(fs);
  const first = append(journal, 0, "first");
  await journal.sync();
  const begin = journal.stats.bytesWritten + fileHeaderBytes;
  journal.acknowledge(1, 0, first);
  await journal.sync();
  for (let n = 1; n < 4; n++) {
    append(journal, n, "later");
    await journal.sync();
  }
  await journal.close();
  const commitBytes = 36;
  await flip(fs, nameOf(first), begin + commitBytes + 20, 1);
  const opened = await open(fs);
  expect(liveOf(opened)).toEqual([0, 1, 2, 3]);
  expect(opened.errors).toMatchObject([{ file: nameOf(first), position: begin + commitBytes }]);
});

test("a flipped bit in what says that a file was cut does not bring back what was cut off", async () => {
  for (let at = fileHeaderBytes; at < fileHeaderBytes + 2 * cutEntryBytes; at++) {
    const fs = new SimulatedFileSystem({ seed: at });
    const { journal } = await open(fs);
    append(journal, 0, "before");
    await journal.sync();
    fs.failNext({ op: "sync", path: ".journal", code: "EIO" });
    // the one in the middle is not where it was written; what is around it may be
    for (let n = 1; n < 4; n++) append(journal, n, `flown ${n}`.repeat(100));
    await journal.sync().catch(() => undefined);
    while (journal.stats.refused !== undefined) await new Promise((resolve) => setImmediate(resolve));
    append(journal, 4, "after");
    await journal.sync();
    append(journal, 5, "after");
    await journal.sync();
    await journal.close();
    await patch(fs, "/journal/000000000001.journal", 1400, Buffer.alloc(100, 1));
    await flip(fs, "/journal/000000000002.journal", at, at % 8);
    const opened = await open(fs);
    expect(liveOf(opened), `byte ${at}`).toEqual([0, 1, 2, 3, 4, 5]);
    expect(opened.errors.map(({ file }) => file)).toEqual(["/journal/000000000002.journal"]);
    for (let n = 1; n < 4; n++) expect(opened.replayed.live.get(`1/${n}`)?.position).toBeGreaterThan(2 * fileBytes);
    await opened.journal.close();
  }
});

test("a cut whose write was torn cuts nothing off: what the failed file still has comes back, and is not doubled later", async () => {
  const fs = new SimulatedFileSystem({ seed: 1, forgottenStaysCached: true });
  const { journal } = await open(fs);
  append(journal, 0, "before");
  await journal.sync();
  fs.failNext({ op: "sync", path: ".journal", code: "EIO" });
  append(journal, 1, "flown");
  await journal.sync().catch(() => undefined);
  while (journal.stats.refused !== undefined) await new Promise((resolve) => setImmediate(resolve));
  const killed = fs.kill();
  await patch(killed, "/journal/000000000002.journal", fileHeaderBytes, Buffer.alloc(cutEntryBytes));
  const next = await open(killed);
  expect(liveOf(next)).toEqual([0, 1]);
  append(next.journal, 2, "after");
  await next.journal.sync();
  const last = await open(killed.crash());
  expect(liveOf(last)).toEqual([0, 1, 2]);
  expect([...next.errors, ...last.errors]).toEqual([]);
});

test("a missing file is said, and what is in the others is served", async () => {
  const { fs, positions } = await closed();
  const second = positions.find((position) => position > 2 * fileBytes) as number;
  await fs.removeFile(nameOf(second));
  const opened = await open(fs);
  expect(liveOf(opened)).toEqual(positions.flatMap((position, n) => (nameOf(position) === nameOf(second) ? [] : [n])));
  expect(opened.errors).toMatchObject([{ missing: "2 to 2" }]);
});
