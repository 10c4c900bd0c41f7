import { spawnSync } from "node:child_process";
import { readdirSync, statSync } from "node:fs";
import path from "node:path";

/**
 * Has the operating system forget what it holds of the files in a folder, so that they come from the disk. Node has no posix_fadvise; GNU dd
 * has, and needs no rights that the files' owner has not. False where it is not there: then what is measured comes from memory.
 */
export function forgetPages(folder: string): boolean {
  spawnSync("sync"); // only what is written can be forgotten
  for (const name of readdirSync(folder, { recursive: true, encoding: "utf8" })) {
    const file = path.join(folder, name);
    if (!statSync(file).isFile()) continue;
    if (spawnSync("dd", [`if=${file}`, "iflag=nocache", "count=0"], { stdio: "ignore" }).status !== 0) return false;
  }
  return true;
}
