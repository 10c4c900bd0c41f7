/** A node's log and queues under load, until it is killed: `node child <directory> <seed> <unconfirmed> <plain>`. */

import { MillraceError } from "../../src/base/errors.ts";
import { nodeFileSystem } from "../../src/base/nodeFileSystem.ts";
import { Random } from "../../src/base/random.ts";
import { lockDirectory } from "../../src/log/directoryLock.ts";
import { BrokerNode } from "../broker/node.ts";
import { LogLoad } from "./logLoad.ts";
import type { Said } from "./messages.ts";
import { QueueLoad } from "./queueLoad.ts";

const [directory, seed, firstUnconfirmed, firstPlain] = process.argv.slice(2) as [string, string, string, string];

/** A pipe takes it before this returns, and keeps it when the process is killed. */
function say(said: Said): void {
  process.stdout.write(`${JSON.stringify(said)}\n`);
}

async function main(): Promise<void> {
  await nodeFileSystem.makeDirectory(directory);
  await lockDirectory({ fileSystem: nodeFileSystem, directory });
  const node = await BrokerNode.start({ directory, journalFileBytes: 1 << 16, journalBytesMax: 1 << 18 });
  const random = new Random(Number(seed));
  const log = new LogLoad(node.log, random, say);
  const queues = new QueueLoad(node, random, say, Number(firstUnconfirmed), Number(firstPlain));
  const partitions = await log.found();
  const inQueues = await queues.found();
  const files = (await nodeFileSystem.list(`${directory}/journal`)).filter((name) => name.endsWith(".journal"));
  const lastFile = Math.max(...files.map((name) => Number.parseInt(name, 10)));
  say({ kind: "found", partitions, queues: inQueues, journal: { segments: node.journal.stats.segments, lastFile } });
  await Promise.all([log.run(), queues.run()]);
}

try {
  await main();
} catch (error) {
  if (error instanceof MillraceError && error.code === "DATA_DIRECTORY_LOCKED") {
    say({ kind: "refused", code: error.code, message: error.message });
  } else {
    say({ kind: "wrong", what: error instanceof Error ? (error.stack ?? error.message) : String(error) });
  }
  process.exit(1);
}
