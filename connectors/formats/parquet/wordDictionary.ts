/** More distinct values than this, and the column stays plain. */
const entriesMax = 16_384;
/** After so many values at least every second one must be a repetition. */
const probeValues = 16_384;

export interface WordDictionary {
  /** Index of the dictionary entry of each value. */
  readonly indexes: Int32Array;
  /** For each entry the position of its first value. */
  readonly firsts: Int32Array;
}

/**
 * A dictionary of fixed-width values, by their bits (so NaN and -0 stay what they are): an open hash table in typed arrays, which gives up
 * early on columns with many distinct values. Undefined when plain values take less.
 */
export function wordDictionary(words: Int32Array, count: number, wordsPerValue: 1 | 2): WordDictionary | undefined {
  if (count < 64) return undefined;
  const tableSize = 2 ** Math.ceil(Math.log2(Math.min(count, entriesMax) * 2));
  const mask = tableSize - 1;
  // entry + 1; 0 is free
  const table = new Int32Array(tableSize);
  const firsts = new Int32Array(Math.min(count, entriesMax));
  const indexes = new Int32Array(count);
  let entries = 0;
  for (let i = 0; i < count; i++) {
    const at = i * wordsPerValue;
    const low = words[at] as number;
    const high = wordsPerValue === 2 ? (words[at + 1] as number) : 0;
    let hash = Math.imul(low, 0x9e3779b1) ^ Math.imul(high, 0x85ebca6b);
    hash ^= hash >>> 15;
    for (let slot = hash & mask; ; slot = (slot + 1) & mask) {
      const entry = (table[slot] as number) - 1;
      if (entry >= 0) {
        const first = (firsts[entry] as number) * wordsPerValue;
        if (words[first] !== low || (wordsPerValue === 2 && words[first + 1] !== high)) continue;
        indexes[i] = entry;
        break;
      }
      if (entries === entriesMax) return undefined;
      firsts[entries] = i;
      indexes[i] = entries;
      table[slot] = ++entries;
      break;
    }
    if (i === probeValues && entries * 2 > probeValues) return undefined;
  }
  const indexBits = 32 - Math.clz32(entries);
  const paysOff = entries * wordsPerValue * 32 + count * indexBits < count * wordsPerValue * 32;
  return paysOff ? { indexes, firsts: firsts.subarray(0, entries) } : undefined;
}
