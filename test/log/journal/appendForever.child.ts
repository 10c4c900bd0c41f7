/** Appends messages as fast as it can and says, a line each time, up to which number they are confirmed; until it is killed. */
import { ByteBudget } from "../../../src/base/byteBudget.ts";
import { systemClock } from "../../../src/base/clock.ts";
import { silentLogger } from "../../../src/base/logger.ts";
import { nodeFileSystem } from "../../../src/base/nodeFileSystem.ts";
import { openJournal } from "../../../src/log/journal/openJournal.ts";
import { Receipt } from "../../../src/record/receipt.ts";

const directory = process.argv[2] as string;
const positions: number[] = [];
let number = -1;
const ignore = (): void => undefined;
const journal = await openJournal(
  {
    fileSystem: nodeFileSystem,
    directory,
    fileBytes: 256 * 1024,
    bytesMax: 2 ** 40,
    clock: systemClock,
    logger: silentLogger,
    budget: new ByteBudget("journal", 1024 * 1024),
    messageBytesMax: 1024,
  },
  {
    message: ({ destinations, position }) => {
      positions.push(position);
      number = Math.max(number, ...destinations.map(({ offset }) => offset));
    },
    kept: () => true,
    remembered: ignore,
    stopped: ignore,
    acknowledged: ignore,
    dropped: ignore,
    holds: () => true,
    remembers: () => false,
    moved: () => true,
    idMoved: () => false,
    stretch: ignore,
    runMoved: () => [],
  },
);
for (const position of positions) journal.pin(position);

function turn(): void {
  const receipt = new Receipt(() => {
    process.stdout.write(`${confirmed}\n`);
    setImmediate(turn);
  });
  for (let count = 0; count < 50; count++) {
    number++;
    const content = Buffer.alloc(200, `message ${number} `);
    const message = {
      address: Buffer.of(0, 1, 65),
      contentFormat: 1,
      content,
      persistent: true,
      dedupeId: undefined,
      timestamp: number,
    } as const;
    journal.append(message, [{ queue: 7, offset: number }], 1, receipt);
  }
  const confirmed = number;
  receipt.seal();
}
turn();
