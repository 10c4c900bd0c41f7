/** The first in [low, high) for which `holds`, or `high`; `holds` stays true once it is. */
export function lowerBound(low: number, high: number, holds: (at: number) => boolean): number {
  let begin = low;
  let end = high;
  while (begin < end) {
    const middle = (begin + end) >>> 1;
    if (holds(middle)) end = middle;
    else begin = middle + 1;
  }
  return begin;
}
