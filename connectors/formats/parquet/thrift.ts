import { ByteBuffer } from "./byteBuffer.ts";

/** Wire types of Thrift's compact protocol. */
export const thriftType = { true: 1, false: 2, i32: 5, i64: 6, binary: 8, list: 9, struct: 12 } as const;

/**
 * Writes Thrift's compact protocol, as far as Parquet's metadata needs it. A field header is one byte (delta of the field
 * id << 4 | type) when the id grows by 1 to 15, else type and zigzag id. Integers are zigzag varints. A struct ends with 0.
 */
export class ThriftWriter {
  private readonly out = new ByteBuffer(512);
  private lastField = 0;
  private readonly outerFields: number[] = [];

  i32(field: number, value: number): void {
    this.header(field, thriftType.i32);
    this.integer(value);
  }

  i64(field: number, value: number): void {
    this.header(field, thriftType.i64);
    this.integer(value);
  }

  boolean(field: number, value: boolean): void {
    this.header(field, value ? thriftType.true : thriftType.false);
  }

  binary(field: number, value: string | Uint8Array): void {
    this.header(field, thriftType.binary);
    this.binaryElement(value);
  }

  /** Opens a struct that is a field; `element` opens one that is an element of a list, or the outermost. */
  struct(field: number, write: () => void): void {
    this.header(field, thriftType.struct);
    this.element(write);
  }

  element(write: () => void): void {
    this.outerFields.push(this.lastField);
    this.lastField = 0;
    write();
    this.out.u8(0);
    this.lastField = this.outerFields.pop() ?? 0;
  }

  list(field: number, elementType: number, count: number): void {
    this.header(field, thriftType.list);
    if (count < 15) this.out.u8((count << 4) | elementType);
    else {
      this.out.u8(0xf0 | elementType);
      this.out.varint(count);
    }
  }

  /** An i32 element of a list, or the value of an integer field. */
  integer(value: number): void {
    this.out.varint(value < 0 ? -2 * value - 1 : 2 * value);
  }

  binaryElement(value: string | Uint8Array): void {
    const bytes = typeof value === "string" ? Buffer.from(value) : value;
    this.out.varint(bytes.length);
    this.out.append(bytes);
  }

  view(): Buffer {
    return this.out.view();
  }

  private header(field: number, type: number): void {
    const delta = field - this.lastField;
    if (delta > 0 && delta < 16) this.out.u8((delta << 4) | type);
    else {
      this.out.u8(type);
      this.integer(field);
    }
    this.lastField = field;
  }
}
