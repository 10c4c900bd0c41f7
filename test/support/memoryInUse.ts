import v8 from "node:v8";
import vm from "node:vm";
import { nextTurn } from "../../src/base/nextTurn.ts";

v8.setFlagsFromString("--expose-gc");
const collectGarbage = vm.runInNewContext("gc") as () => void;

/** The collector frees buffers in the background, and some garbage only at its second look: it is asked until nothing more goes. */
export async function memoryInUse(): Promise<number> {
  let least = Number.POSITIVE_INFINITY;
  for (let looksInVain = 0; looksInVain < 3; looksInVain++) {
    await nextTurn();
    collectGarbage();
    const { heapUsed, arrayBuffers } = process.memoryUsage();
    if (heapUsed + arrayBuffers < least - 1000) looksInVain = 0;
    least = Math.min(least, heapUsed + arrayBuffers);
  }
  return least;
}
