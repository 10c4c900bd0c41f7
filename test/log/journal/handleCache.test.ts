import { expect, test } from "vitest";
import type { File, FileSystem } from "../../../src/base/fileSystem.ts";
import { Random } from "../../../src/base/random.ts";
import { HandleCache } from "../../../src/log/journal/segments/handleCache.ts";
import { SimulatedFileSystem } from "../../support/simulatedFileSystem.ts";

/** Counts open handles; a closed one that is used fails by itself. */
class Counting {
  open = 0;
  most = 0;
  readonly fileSystem: FileSystem;

  constructor(inner: FileSystem) {
    this.fileSystem = Object.create(inner, {
      open: {
        value: async (path: string, mode: "read"): Promise<File> => {
          const file = await inner.open(path, mode);
          this.most = Math.max(this.most, ++this.open);
          const close = file.close.bind(file);
          file.close = async () => {
            this.open--;
            await close();
          };
          return file;
        },
      },
    }) as FileSystem;
  }
}

test.each([1, 2, 3])("a hundred files are read in turns through eight handles, whatever is removed meanwhile (seed %i)", async (seed) => {
  const disk = new SimulatedFileSystem({ seed });
  for (let n = 0; n < 100; n++) {
    const file = await disk.open(`/f${n}`, "create");
    await file.write(Buffer.of(n), 0, 1, 0);
    await file.close();
  }
  const counting = new Counting(disk);
  const handles = new HandleCache(counting.fileSystem, 8);
  const random = new Random(seed);
  const read = async (): Promise<void> => {
    for (let step = 0; step < 100; step++) {
      const n = random.below(100);
      if (random.below(10) === 0) await handles.forget(`/f${n}`);
      const into = Buffer.alloc(1);
      await handles.use(`/f${n}`, (handle) => handle.read(into, 0, 1, 0));
      expect(into[0]).toBe(n);
    }
  };
  await Promise.all([read(), read(), read()]);
  expect(counting.open).toBeLessThanOrEqual(8);
  expect(counting.most).toBeLessThanOrEqual(8 + 3 + 1); // one more for each that reads, and one on its way out
  await expect(handles.use("/missing", async () => undefined)).rejects.toMatchObject({ code: "ENOENT" });
  await handles.close();
  expect(counting.open).toBe(0);
});
