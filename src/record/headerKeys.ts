/** Bounds the cache below: header names come from the network. */
const CACHED_KEYS_MAX = 256;
const CACHED_KEY_CHARS_MAX = 64;

const cache = new Map<string, Buffer>();

/** A header's name as UTF-8. The few names that all records share are encoded once. */
export function headerKeyBytes(key: string): Buffer {
  const cached = cache.get(key);
  if (cached !== undefined) return cached;
  const bytes = Buffer.from(key);
  if (cache.size < CACHED_KEYS_MAX && key.length <= CACHED_KEY_CHARS_MAX) cache.set(key, bytes);
  return bytes;
}
