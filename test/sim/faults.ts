import type { Operation as FileOperation } from "../support/simulatedFaults.ts";
import type { SimulatedFileSystem } from "../support/simulatedFileSystem.ts";
import type { Operation, World } from "./world.ts";

interface Kind {
  readonly op: FileOperation;
  readonly code: string;
  readonly paths: readonly string[];
}

const kinds: readonly Kind[] = [
  { op: "read", code: "EIO", paths: [".log", ".journal", ".segment"] },
  { op: "readFile", code: "EIO", paths: [".index", ".timeindex", ".txnindex", ".snapshot", ".dead"] },
  {
    op: "write",
    code: "EIO",
    paths: [
      ".log",
      ".log",
      ".journal",
      ".index",
      ".timeindex",
      ".txnindex",
      ".snapshot",
      "catalog",
      "topology",
      "-making",
      ".spare",
      ".cleaned",
    ],
  },
  { op: "write", code: "ENOSPC", paths: [".log", ".cleaned", ".journal", ".snapshot", "catalog", "-making", ".spare"] },
  {
    op: "sync",
    code: "EIO",
    paths: [".log", ".log", ".journal", ".index", ".timeindex", ".txnindex", "catalog", "topology", "-making", ".spare", ".cleaned"],
  },
  { op: "syncDirectory", code: "EIO", paths: ["topics", "table-0", "journal"] },
  {
    op: "open",
    code: "EIO",
    paths: [".log", ".index", ".timeindex", ".txnindex", ".cleaned", ".snapshot", "-making", ".spare", ".segment"],
  },
  { op: "open", code: "EMFILE", paths: [".log", ".index", ".timeindex", ".txnindex", ".segment", ".spare"] },
  {
    op: "close",
    code: "EIO",
    paths: [".log", ".log", ".index", ".timeindex", ".txnindex", ".journal", ".segment", "-making", ".spare", ".snapshot"],
  },
  { op: "stat", code: "EIO", paths: [".log", ".index", ".timeindex", ".txnindex", ".snapshot", "-making", ".journal", "topics"] },
  { op: "list", code: "EIO", paths: ["topics", "table-0", "journal"] },
  { op: "truncate", code: "EIO", paths: [".log", ".index"] },
  { op: "rename", code: "EIO", paths: [".spare", ".journal", "-making", "catalog", ".cleaned", ".cleaned"] },
  { op: "removeFile", code: "EIO", paths: [".log", "table-0", "table-0", ".snapshot", ".segment", ".dead", ".journal"] },
];

/** The disk fails, is full, and works again. */
export class Faults {
  constructor(
    private readonly world: World & { troubled: boolean },
    private readonly fileSystem: () => SimulatedFileSystem,
  ) {}

  get operations(): readonly Operation[] {
    return [
      {
        name: "a fault",
        weight: 2,
        run: () => {
          this.arm();
        },
      },
      { name: "the disk fills up", weight: 1, run: () => this.fill() },
      { name: "the disk works again", weight: 2, run: () => this.heal() },
    ];
  }

  /** Returns which operation is to fail. */
  arm(): FileOperation {
    const { random } = this.world;
    const { op, code, paths } = random.pick(kinds);
    this.world.troubled = true;
    this.fileSystem().failNext({ op, code, path: random.pick(paths), times: random.pick([1, 1, 1, 5]) });
    return op;
  }

  /** A stop has to sync the journal once more. */
  failStop(): void {
    this.world.troubled = true;
    this.fileSystem().failNext({ op: "sync", code: "EIO", path: ".journal" });
  }

  heal(): void {
    this.fileSystem().heal();
    this.fileSystem().limitDisk(undefined);
  }

  fill(): void {
    this.world.troubled = true;
    const fileSystem = this.fileSystem();
    fileSystem.limitDisk(fileSystem.usedBytes() + this.world.random.below(12_000));
  }
}
