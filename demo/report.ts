/** What the demo says in the end. */
import { DuckDb, quoted, type Row } from "./duckdb.ts";
import type { Finding, Verdict } from "./judge.ts";
import type { LineResult } from "./line.ts";
import { airportsPath } from "./paths.ts";
import { grouped } from "./progress.ts";

export function stageTable(line: LineResult, verdict: Verdict): string {
  const { count, seconds, queues } = line;
  const wrong = (stage: string, kind: Finding["kind"]): string =>
    grouped(
      verdict.findings.filter((finding) => finding.stage === stage && finding.kind === kind).reduce((sum, found) => sum + found.count, 0),
    );
  const row = (stage: string, events: number, time: number): string[] => {
    return [stage, grouped(events), grouped(events / time), wrong(stage, "duplicate"), wrong(stage, "lost")];
  };
  const lostDeliveries = (name: string): number =>
    verdict.findings.filter((finding) => finding.stage === name && finding.kind === "lost").reduce((sum, found) => sum + found.count, 0);
  return textTable([
    ["stage", "events", "events/s", "duplicates", "lost"],
    ["published, confirmed", grouped(count), grouped(count / seconds.published), "", ""],
    ...queues.map(({ name }, index) => row(name, (line.expected[index] as number) - lostDeliveries(name), seconds.delivered)),
    row("raw flights", verdict.raw, seconds.drained),
    row("hourly windows", verdict.windows, seconds.drained),
    row("late flights", verdict.late, seconds.drained),
  ]);
}

export function lateSentence(line: LineResult, verdict: Verdict): string {
  const besides = verdict.lateBesides === 0 ? "and nothing else" : `and ${grouped(verdict.lateBesides)} others`;
  return `Late: the ${grouped(line.heldBack.length)} flights that were held back ${besides}.`;
}

export function killSentence({ kills, republished, duplicatesDropped, redelivered }: LineResult): string {
  return (
    `Killed ${kills} times with SIGKILL: ${grouped(republished)} flights published again, ` +
    `${duplicatesDropped === 0 ? "" : `at least ${grouped(duplicatesDropped)} copies recognised and dropped, `}` +
    `${grouped(redelivered)} deliveries marked as redelivered.`
  );
}

export function findingsText(findings: readonly Finding[]): string {
  return findings
    .map(({ stage, what, count, firstRows }) => {
      const rows = firstRows.map((row) => `    ${JSON.stringify(row)}`);
      return [`  ${stage}: ${grouped(count)} ${what}`, ...rows, ...(count > rows.length ? ["    ..."] : [])].join("\n");
    })
    .join("\n");
}

/** The hours with the longest delays, as anybody would ask for them. */
export async function worstHours(output: string): Promise<string> {
  await using db = await DuckDb.open();
  const rows = await db.rows(`select a.name as airport, strftime(w."windowStart", '%Y-%m-%d %H:%M') as hour, w.flights,
      round(w."meanDelay", 1) as "meanDelay", w.worst
    from read_parquet(${quoted(`${output}/hourly-delays/**/*.parquet`)}) w
    join read_csv(${quoted(airportsPath)}, header = true) a on a.iata = w.origin
    where w.flights >= 10 order by w."meanDelay" desc, w.origin, w."windowStart" limit 5`);
  const columns = ["airport", "hour", "flights", "meanDelay", "worst"];
  return textTable([columns, ...rows.map((row: Row) => columns.map((column) => String(row[column])))]);
}

const isNumber = (text: string): boolean => /^-?[\d,.]+$/.test(text);

/** Numbers stand at the right, all else at the left. */
function textTable(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => (row[column] as string).length)));
  return rows
    .map((row, index) => {
      const cells = row.map((text, column) => {
        const width = widths[column] as number;
        const below = index === 0 ? (rows[1]?.[column] ?? "") : text;
        return isNumber(below) || (below === "" && column > 0) ? text.padStart(width) : text.padEnd(width);
      });
      return `  ${cells.join("   ").trimEnd()}`;
    })
    .join("\n");
}
