import fs from "node:fs";
import path from "node:path";
import { DuckDBInstance } from "@duckdb/node-api";

/** The rows of all visible files of a folder, by another program. */
export async function rowsOf(folder: string, order: string, columns = "*"): Promise<Record<string, unknown>[]> {
  const files = visibleFiles(folder);
  if (files.length === 0) return [];
  const connection = await (await DuckDBInstance.create()).connect();
  const list = files.map((file) => `'${file}'`).join(", ");
  const result = await connection.runAndReadAll(`select ${columns} from read_parquet([${list}]) order by ${order}`);
  return result.getRowObjectsJson();
}

export function visibleFiles(folder: string): string[] {
  if (!fs.existsSync(folder)) return [];
  const names = fs.readdirSync(folder, { recursive: true, encoding: "utf8" });
  return names
    .filter((name) => name.endsWith(".parquet") && !name.split(path.sep).some((part) => /^[_.]/.test(part)))
    .map((name) => path.join(folder, name));
}
