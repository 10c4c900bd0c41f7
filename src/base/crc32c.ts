import { crc32c as native } from "@node-rs/crc32";

/** CRC-32C (Castagnoli) as an unsigned 32-bit number. Node's own zlib.crc32 is another polynomial. */
export function crc32c(bytes: Uint8Array): number {
  return native(bytes as Buffer);
}
