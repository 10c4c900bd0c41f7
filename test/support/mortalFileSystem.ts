import type { File, FileSystem } from "../../src/base/fileSystem.ts";

/**
 * A file system for one life of a process that is "killed" within the test's own process: after `die` nothing that the dead one still
 * has in hand reaches the disk, and what was on its way has arrived.
 */
export class MortalFileSystem {
  readonly fileSystem: FileSystem;
  private dead = false;
  private readonly underWay = new Set<Promise<unknown>>();

  constructor(below: FileSystem) {
    this.fileSystem = this.mortal(below, (name, result) => (name === "open" ? this.mortal(result as File & object) : result));
  }

  async die(): Promise<void> {
    this.dead = true;
    await Promise.allSettled(this.underWay);
  }

  private mortal<T extends object>(target: T, wrap: (name: string | symbol, result: unknown) => unknown = (_, result) => result): T {
    return new Proxy(target, {
      get: (_, name) => {
        const method = Reflect.get(target, name) as ((...args: unknown[]) => Promise<unknown>) | undefined;
        if (method === undefined) return undefined; // "then": a file is no promise
        return async (...args: unknown[]) => {
          if (this.dead) {
            await new Promise<void>((resolve) => setImmediate(resolve)); // else whoever tries again and again would let no time limit end it
            throw new Error("the process is dead");
          }
          const call = method.apply(target, args);
          this.underWay.add(call);
          try {
            return wrap(name, await call);
          } finally {
            this.underWay.delete(call);
          }
        };
      },
    });
  }
}
