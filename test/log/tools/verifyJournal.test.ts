/** What `millrace log verify` says of the queues' journal: the same as a start says, and nothing that it does not. */
import { expect, test } from "vitest";
import type { FileSystem } from "../../../src/base/fileSystem.ts";
import { Random } from "../../../src/base/random.ts";
import { fileHeaderBytes } from "../../../src/log/journal/files/format.ts";
import { weightOf } from "../../../src/log/tools/logProblem.ts";
import { verifyJournal } from "../../../src/log/tools/verifyJournal.ts";
import { SimulatedFileSystem } from "../../support/simulatedFileSystem.ts";
import { append, fileBytes, open } from "../journal/opened.ts";
import { copyOf, flip, readOnly } from "./support.ts";

const nameOf = (position: number): string => `/journal/${String(Math.floor(position / fileBytes)).padStart(12, "0")}.journal`;
const verify = (fs: FileSystem) => verifyJournal(readOnly(fs), "/journal", () => undefined);

async function written(messages = 60): Promise<{ readonly fs: SimulatedFileSystem; readonly positions: readonly number[] }> {
  const fs = new SimulatedFileSystem({ seed: 1 });
  const { journal } = await open(fs);
  const positions: number[] = [];
  for (let n = 0; n < messages; n++) {
    positions.push(append(journal, n, `content ${n} `.repeat(40)));
    if (n % 3 === 0) await journal.sync();
  }
  await journal.close();
  return { fs, positions };
}

test("a whole journal: nothing is found, every entry is read, nothing is changed", async () => {
  const { fs, positions } = await written();
  const seen: number[] = [];
  const totals = new Set<number>();
  const found = await verifyJournal(readOnly(fs), "/journal", (bytes, total) => {
    seen.push(bytes);
    totals.add(total);
  });
  expect(found.problems).toEqual([]);
  expect(found.entries).toBeGreaterThan(positions.length);
  expect(seen).toEqual(seen.toSorted((a, b) => a - b));
  expect(seen.at(-1)).toBe(found.bytes);
  expect([...totals]).toEqual([found.bytes]);
  expect(found.files).toBeGreaterThan(2);
  expect(new Set(seen).size).toBeGreaterThan(found.files - 1); // it is said after each file
});

test("a flipped bit anywhere is said with the file and the position that a start says", async () => {
  const { fs, positions } = await written();
  const files = [...new Set(positions.map(nameOf))];
  const random = new Random(11);
  const met = { header: 0, entry: 0, tail: 0, nothing: 0 };
  for (let round = 0; round < 150; round++) {
    const file = random.pick(files);
    const at = random.below(4) === 0 ? random.below(fileHeaderBytes) : random.below(fileBytes);
    const bit = random.below(8);
    await flip(fs, file, at, bit);
    const { problems } = await verify(fs);
    const damage = problems.filter(({ kind }) => kind !== "tail");
    const { errors, journal } = await open(await copyOf(fs, "/journal"));
    await journal.close();
    expect(
      damage.map((one) => [one.file, one.position]),
      `byte ${at} of ${file}`,
    ).toEqual(errors.map((one) => [one.file, one.position]));
    const [first] = problems;
    if (first === undefined) met.nothing++;
    else if (first.kind === "tail") met.tail++;
    else met[first.kind === "file" ? "header" : "entry"]++;
    await flip(fs, file, at, bit);
  }
  for (const [what, count] of Object.entries(met)) expect(count, what).toBeGreaterThan(0);
});

test("what a clean stop wrote down is looked at too; damaged it does no harm, as the journal says it as well", async () => {
  const fs = new SimulatedFileSystem({ seed: 3 });
  const { journal } = await open(fs);
  append(journal, 0, "one");
  await journal.sync();
  await journal.close(() => []);
  const file = "/journal/queues.stopped";
  const whole = await verify(fs);
  expect(whole.problems).toEqual([]);
  expect(whole.bytes).toBe(whole.files * fileBytes + ((await fs.stat(file))?.bytes as number));
  await flip(fs, file, 20, 3);
  const { problems } = await verify(fs);
  expect(problems).toMatchObject([{ kind: "state", file, position: 0 }]);
  expect(problems.map(weightOf)).toEqual(["harmless"]);
});

test("a last write that was not finished is a torn end, with its position; so it is where only a part of it is there", async () => {
  const { fs, positions } = await written(5);
  const last = positions.at(-1) as number;
  for (const tornAt of [last % fileBytes, (last % fileBytes) + 100]) {
    const torn = await copyOf(fs, "/journal");
    const handle = await torn.open(nameOf(last), "write");
    await handle.write(Buffer.alloc(fileBytes - tornAt), 0, fileBytes - tornAt, tornAt);
    await handle.close();
    const { problems } = await verify(torn);
    expect(problems.map(({ kind, file }) => [kind, file])).toEqual([["tail", nameOf(last)]]);
    expect(problems.every(({ position }) => position <= tornAt)).toBe(true);
  }
});

test("a missing file, and a whole one in the wrong place", async () => {
  const { fs } = await written();
  const gap = await copyOf(fs, "/journal");
  await gap.removeFile("/journal/000000000002.journal");
  expect((await verify(gap)).problems).toMatchObject([{ kind: "missing", what: expect.stringContaining("2 to 2") as string }]);
  await fs.rename("/journal/000000000002.journal", "/journal/000000000099.journal");
  expect((await verify(fs)).problems).toMatchObject([{ kind: "file", file: "/journal/000000000099.journal" }]);
});
