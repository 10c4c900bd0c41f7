/** The judge's tool: a database that we did not write. */
import { type DuckDBConnection, DuckDBInstance } from "@duckdb/node-api";

export type Row = Readonly<Record<string, unknown>>;

export class DuckDb implements AsyncDisposable {
  private constructor(
    private readonly instance: DuckDBInstance,
    private readonly connection: DuckDBConnection,
  ) {}

  static async open(): Promise<DuckDb> {
    const instance = await DuckDBInstance.create(":memory:");
    const connection = await instance.connect();
    await connection.run("set TimeZone = 'UTC'");
    return new DuckDb(instance, connection);
  }

  async run(sql: string): Promise<void> {
    await this.connection.run(sql);
  }

  /** Plain values: numbers, strings, null; what is larger or has a type of its own as a string. */
  async rows(sql: string): Promise<Row[]> {
    const reader = await this.connection.runAndReadAll(sql);
    return reader.getRowObjectsJson().map((row) => Object.fromEntries(Object.entries(row)));
  }

  async number(sql: string): Promise<number> {
    const [first] = await this.rows(sql);
    return Number(Object.values(first ?? {})[0]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.connection.closeSync();
    this.instance.closeSync();
  }
}

/** As an SQL string. */
export const quoted = (text: string): string => `'${text.replaceAll("'", "''")}'`;
