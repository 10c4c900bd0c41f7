/** Looked at before the loop goes on; about 2 ms. */
const itemsPerSliceMax = 2000;

/** Of bytes whose checksum is computed: so many take as long as an item. Of large messages few fill a slice. */
export const checkedBytesPerItem = 1024;

/** Work between two turns of the loop. */
export class Slice {
  private done = 0;

  isOver(items: number): boolean {
    this.done += items;
    if (this.done < itemsPerSliceMax) return false;
    this.done = 0;
    return true;
  }
}
