/** Atomics.waitAsync is in Node 20 (V8 8.7 and later) but in the types of ES2024 only. */
type WaitAsync = (
  words: Int32Array,
  index: number,
  value: number,
) => { readonly async: false; readonly value: string } | { readonly async: true; readonly value: Promise<string> };

const native = (Atomics as unknown as { readonly waitAsync: WaitAsync }).waitAsync;

/** Resolves once `words[index]` is notified, at once if it is not `value` any more. */
export async function waitAsync(words: Int32Array, index: number, value: number): Promise<void> {
  const wait = native(words, index, value);
  if (wait.async) await wait.value;
}
