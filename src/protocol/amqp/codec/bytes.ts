/** Big-endian numbers where every frame needs them: Buffer's own methods check their arguments (5 ns each; these 1). */
export function uint16(bytes: Buffer, at: number): number {
  return ((bytes[at] as number) << 8) | (bytes[at + 1] as number);
}

export function uint32(bytes: Buffer, at: number): number {
  const high = ((bytes[at] as number) << 8) | (bytes[at + 1] as number);
  return high * 65_536 + (((bytes[at + 2] as number) << 8) | (bytes[at + 3] as number));
}

/** Exact up to 2^53. */
export const uint64 = (bytes: Buffer, at: number): number => uint32(bytes, at) * 4_294_967_296 + uint32(bytes, at + 4);
