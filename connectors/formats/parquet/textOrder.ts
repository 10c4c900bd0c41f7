/**
 * Do two well-formed strings stand in the order of their UTF-8 bytes (= code points)? JavaScript's own `<` compares UTF-16 units, where
 * a surrogate (the first half of an emoji, say) is less than U+E000..U+FFFF although its code point is greater.
 */
export function textBefore(left: string, right: string): boolean {
  const shared = Math.min(left.length, right.length);
  for (let i = 0; i < shared; i++) {
    const a = left.charCodeAt(i);
    const b = right.charCodeAt(i);
    if (a !== b) return rank(a) < rank(b);
  }
  return left.length < right.length;
}

/** Moves the surrogates above all other units. */
function rank(unit: number): number {
  if (unit < 0xd800) return unit;
  return unit >= 0xe000 ? unit - 0x800 : unit + 0x2000;
}

/** Lone surrogates as U+FFFD, which is what UTF-8 encoding makes of them. */
export function wellFormed(text: string): string {
  return (text as string & { toWellFormed(): string }).toWellFormed();
}

export function isAscii(text: string): boolean {
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) > 127) return false;
  return true;
}
