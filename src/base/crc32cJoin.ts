/** CRC-32C of bytes put together from the checksums of their parts: a checksum is a polynomial's rest, and n more bytes shift it by 8n. */

/** Bits reversed: the highest bit is x^0. */
const polynomial = 0x82f63b78 | 0;
const one = 1 << 31;

/** x^(2^n). */
const squares = makeSquares();
/** Shifts that were needed once, by their bytes; 0: not yet. Larger ones are made each time. */
const knownBelowBytes = 64 * 1024;
const known = new Int32Array(knownBelowBytes);

/** The checksum of A followed by B, of which only the checksums are known, and the length of B. */
export function crc32cJoined(crcA: number, crcB: number, bytesB: number): number {
  return (product(shiftOf(bytesB), crcA | 0) ^ crcB) >>> 0;
}

function shiftOf(bytes: number): number {
  if (bytes >= knownBelowBytes) return makeShift(bytes);
  let shift = known[bytes] as number;
  if (shift === 0) known[bytes] = shift = makeShift(bytes);
  return shift;
}

/** x^(8 * bytes). */
function makeShift(bytes: number): number {
  let shift = one;
  let square = 3;
  for (let rest = bytes; rest > 0; rest = Math.floor(rest / 2), square++) {
    if (rest % 2 === 1) shift = product(squares[square] as number, shift);
  }
  return shift;
}

function makeSquares(): Int32Array {
  const made = new Int32Array(48);
  made[0] = 1 << 30;
  for (let n = 1; n < made.length; n++) made[n] = product(made[n - 1] as number, made[n - 1] as number);
  return made;
}

/** Modulo the polynomial. Without branches: random bits would be predicted wrongly half of the time. */
function product(a: number, b: number): number {
  let left = a;
  let right = b;
  let result = 0;
  for (let bit = 0; bit < 32; bit++) {
    result ^= right & (left >> 31);
    left <<= 1;
    right = (right >>> 1) ^ (polynomial & -(right & 1));
  }
  return result;
}
