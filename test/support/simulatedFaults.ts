import type { FileSystem } from "../../src/base/fileSystem.ts";

export type Operation = keyof FileSystem | "read" | "write" | "sync" | "truncate" | "close";

export interface Fault {
  readonly op: Operation;
  /** The operating system's: EIO, ENOSPC, EACCES, ... */
  readonly code: string;
  /** Only for paths that contain this. */
  readonly path?: string;
  /** Default 1; Infinity until `heal`. */
  readonly times?: number;
  /** So many such operations work before; default 0. */
  readonly after?: number;
}

/** What the next operations fail with. */
export class ArmedFaults {
  private readonly armed: { readonly fault: Fault; left: number; before: number }[] = [];

  constructor(private readonly met: (fault: string) => void) {}

  failNext(fault: Fault): void {
    this.armed.push({ fault, left: fault.times ?? 1, before: fault.after ?? 0 });
  }

  heal(): void {
    this.armed.length = 0;
  }

  /** Throws if one waits for this. */
  meet(op: Operation, where: string): void {
    const index = this.armed.findIndex(({ fault }) => fault.op === op && (fault.path === undefined || where.includes(fault.path)));
    const found = this.armed[index];
    if (found === undefined || found.before-- > 0) return;
    if (--found.left <= 0) this.armed.splice(index, 1);
    this.met(`${found.fault.code} on ${op}`);
    throw systemError(found.fault.code, op, where);
  }
}

export function systemError(code: string, call: string, where: string): NodeJS.ErrnoException {
  return Object.assign(new Error(`${code}: ${call} '${where}'`), { code, syscall: call, path: where });
}
