import { fromParts } from "../server/errorTransfer.ts";
import type { NodeStatus } from "../server/status.ts";

/** What a node says of itself, for people: tables, and behind them what is wrong. */
export function statusText(node: NodeStatus): string {
  const { broker } = node;
  const sections = [
    `millrace ${node.version}, process ${node.pid}, ${node.state}\n${node.addresses.amqp}, ${node.connections} connections\n${node.data}`,
    table(
      ["queue", "ready", "unacked", "consumers", "published", "duplicates"],
      broker.queues.map((q) => [q.name, q.ready, q.unacknowledged, q.consumers, q.published, q.duplicates]),
    ),
    table(
      ["topic", "partitions", "end offsets", "published", "duplicates"],
      [
        ...broker.topics.map((t) => [t.name, t.partitions.length, ends(t.partitions), t.published, t.duplicates]),
        ...node.pipelineTopics.map((t) => [t.name, t.partitions.length, ends(t.partitions), undefined, undefined]),
      ],
    ),
    table(
      ["pipeline", "state", "epoch", "records", "late", "dead", "rows out"],
      node.pipelines.map((p) => [p.name, p.state, p.task?.epoch, p.task?.recordsIn, p.task?.late, p.task?.dead, rowsOut(p.task?.rowsOut)]),
    ),
    journalTrouble(broker.journal),
    partitionTrouble(node.refusing),
    ...node.pipelines.map(pipelineTrouble),
  ];
  return sections.filter((section) => section !== "").join("\n\n");
}

function journalTrouble({ refused, failures, damagedEntries }: NodeStatus["broker"]["journal"]): string {
  const lines = [
    refused === undefined
      ? ""
      : `queues take no messages now: ${refused}; consuming goes on, and publishing by itself when the disk allows it`,
    failures === 0 ? "" : `writes and syncs of the queues' journal that failed since the start: ${failures}`,
    damagedEntries === 0 ? "" : `damaged entries of the queues' journal that the start passed over: ${damagedEntries}; the log names them`,
  ];
  return lines.filter((line) => line !== "").join("\n");
}

/** Those that say the same stand together. */
function partitionTrouble({ count, first }: NodeStatus["refusing"]): string {
  if (count === 0) return "";
  const reasons = new Map<string, string[]>();
  for (const { partition, ...parts } of first) {
    const text = fromParts(parts).toText();
    const partitions = reasons.get(text);
    if (partitions === undefined) reasons.set(text, [partition]);
    else partitions.push(partition);
  }
  const lines = [...reasons].map(([text, partitions]) => `${partitions.join(", ")}: ${text}`);
  const more = count - first.length;
  return [`partitions that take nothing now: ${count}`, ...lines, ...(more === 0 ? [] : [`and ${more} more`])].join("\n");
}

const ends = (partitions: readonly { readonly endOffset: number }[]): string => partitions.map(({ endOffset }) => endOffset).join(" ");

/** Empty if there is none. */
function pipelineTrouble({ name, state, error, task }: NodeStatus["pipelines"][number]): string {
  if (error !== undefined) return `${name}: ${fromParts(error).toText()}`;
  if (state !== "running" || task?.trouble === undefined) return "";
  const { code, message, hint } = task.trouble;
  return `${name}: tries again after ${code}: ${message}${hint === undefined ? "" : `\n  ${hint}`}`;
}

const rowsOut = (rows: Readonly<Record<string, number>> = {}): number => Object.values(rows).reduce((sum, count) => sum + count, 0);

/** Empty without rows. Numbers stand at the right. */
function table(head: readonly string[], rows: readonly (readonly (string | number | undefined)[])[]): string {
  if (rows.length === 0) return "";
  const texts = [head, ...rows.map((row) => row.map((cell) => String(cell ?? "-")))];
  const widths = head.map((_, column) => Math.max(...texts.map((row) => (row[column] as string).length)));
  const isNumber = head.map((_, column) => rows.every((row) => typeof row[column] !== "string"));
  return texts
    .map((row) =>
      row
        .map((cell, column) => (isNumber[column] ? cell.padStart(widths[column] as number) : cell.padEnd(widths[column] as number)))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}
