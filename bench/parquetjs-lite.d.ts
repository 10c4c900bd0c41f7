/** The little of it that the bench uses; the package has no types of its own. */
declare module "parquetjs-lite" {
  interface Field {
    readonly type: string;
    readonly compression?: string;
  }
  interface Schema {
    readonly schema: Readonly<Record<string, Field>>;
  }
  interface Writer {
    setRowGroupSize(rows: number): void;
    appendRow(row: Record<string, unknown>): Promise<void>;
    close(): Promise<void>;
  }
  const parquetjs: {
    readonly ParquetSchema: new (fields: Readonly<Record<string, Field>>) => Schema;
    readonly ParquetWriter: { openFile(schema: Schema, path: string): Promise<Writer> };
  };
  export default parquetjs;
}
