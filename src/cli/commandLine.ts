/** The commands, their arguments and their help. What each does is in its own file, loaded when it is asked for. */
import { Command, CommanderError, InvalidArgumentError, Option } from "commander";
import type { Flag } from "../config/settings.ts";
import type { TailStart } from "../log/tools/tailLog.ts";
import { version } from "../server/version.ts";
import { ExitCode } from "./exitCodes.ts";
import { takeConfigFlags } from "./flags.ts";
import { ignoreClosedOutput, sayError } from "./terminal.ts";

/** Configuration keys without a section, which look like any flag. */
const plainFlags = new Set(["--data", "--pipelines"]);

/** Runs a command and gives the exit code. */
export async function runCommandLine(args: readonly string[]): Promise<number> {
  ignoreClosedOutput();
  const { flags, rest } = takeConfigFlags(args, plainFlags);
  let exitCode: number = ExitCode.done;
  const program = commands(flags, (code) => {
    exitCode = code;
  });
  try {
    await program.parseAsync(rest, { from: "user" });
    return exitCode;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? ExitCode.done : ExitCode.usage;
    sayError(error);
    return ExitCode.failed;
  }
}

interface TailFlags {
  readonly config?: string;
  readonly partition?: number;
  readonly fromBeginning?: boolean;
  readonly offset?: number;
  readonly timestamp?: number;
  readonly count?: number;
  readonly follow?: boolean;
  readonly raw?: boolean;
}

/** Of each partition, where nothing else is said. */
const tailRecords = 10;

function startOf({ fromBeginning, offset, timestamp }: TailFlags): TailStart {
  if (fromBeginning === true) return { at: "beginning" };
  if (offset !== undefined) return { at: "offset", offset };
  return timestamp === undefined ? { at: "last", records: tailRecords } : { at: "timestamp", timestamp };
}

function wholeNumber(text: string): number {
  const number = Number(text);
  if (/^\d+$/.test(text) && Number.isSafeInteger(number)) return number;
  throw new InvalidArgumentError("It must be a whole number.");
}

/** Milliseconds since 1970, or a date with or without time and zone. Without a zone it is UTC, wherever this runs. */
function pointInTime(text: string): number {
  const date = /^(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d(?::\d\d(?:\.\d+)?)?) ?(Z|[+-]\d\d:?\d\d)?)?$/i.exec(text);
  const time = /^\d+$/.test(text)
    ? Number(text)
    : date === null
      ? Number.NaN
      : Date.parse(`${date[1]}T${date[2] ?? "00:00"}${date[3] ?? "Z"}`);
  if (Number.isFinite(time)) return time;
  throw new InvalidArgumentError(
    "It must be a date, as 2001-01-01, 2001-01-01T00:00:00 (in UTC) or 2001-01-01T00:00:00+02:00, or milliseconds since 1970.",
  );
}

function commands(flags: readonly Flag[], exitWith: (code: number) => void): Command {
  const program = new Command("millrace")
    .description("Stream processing: AMQP in, a log inside, RxJS pipelines on top, Parquet out.")
    .version(version, "-v, --version")
    .exitOverride()
    .showHelpAfterError("Run the command with --help to see how it is used.")
    .addHelpText(
      "after",
      "\nEvery configuration key is also a flag (--log.segment-bytes 1048576) and a variable (MILLRACE_LOG_SEGMENT_BYTES).\n" +
        "Exit codes: 0 done or closed cleanly, 1 failed, 2 wrong usage, 130 and 143 ended by a second SIGINT or SIGTERM.",
    );
  const command = (usage: string, description: string): Command =>
    program.command(usage).description(description).option("--data <dir>", "the data directory").exitOverride();
  const configFile = new Option("-c, --config <file>", "the configuration file (default: ./millrace.yaml, if there is one)");

  command("dev [pipelines...]", "run a node for development: loopback only, guest/guest, pipelines reload when their files change")
    .addOption(configFile)
    .action(async (pipelines: string[], options: { config?: string }) => {
      exitWith(await (await import("./dev.ts")).dev({ pipelines, file: options.config, flags }));
    });
  command("start", "run a node as the configuration file says")
    .addOption(configFile)
    .action(async (options: { config?: string }) => {
      exitWith(await (await import("./start.ts")).start({ file: options.config, flags }));
    });
  command("check [files...]", "say what is wrong with a configuration file and its pipelines, or with pipeline files")
    .addOption(configFile)
    .action(async (files: string[], options: { config?: string }) => {
      exitWith(await (await import("./check.ts")).check({ files, file: options.config, flags }));
    });
  command("stop", "close the node that uses the data directory")
    .addOption(configFile)
    .option("--drain", "first take in what is published, fire the last windows and commit")
    .action(async (options: { config?: string; drain?: boolean }) => {
      exitWith(await (await import("./stop.ts")).stop({ file: options.config, flags, drain: options.drain === true }));
    });
  command("status", "show what the node that uses the data directory does")
    .addOption(configFile)
    .option("--json", "as JSON, for programs")
    .action(async (options: { config?: string; json?: boolean }) => {
      exitWith(await (await import("./status.ts")).status({ file: options.config, flags, json: options.json === true }));
    });
  command("tail <topic>", "print a topic's records as lines of JSON: the last ten of each partition, or from where it is told")
    .addOption(configFile)
    .option("--partition <number>", "only this partition", wholeNumber)
    .addOption(new Option("--from-beginning", "from the first record that is kept").conflicts(["offset", "timestamp"]))
    .addOption(new Option("--offset <offset>", "from this offset").argParser(wholeNumber).conflicts("timestamp"))
    .addOption(
      new Option(
        "--timestamp <time>",
        "from the first record that is not earlier: 2001-01-01T00:00:00, which is UTC without a zone, or ms since 1970",
      ).argParser(pointInTime),
    )
    .option("--count <number>", "so many records at most", wholeNumber)
    .option("--follow", "wait for what comes")
    .option("--raw", "headers as they are stored, with AMQP's properties in one of them")
    .action(async (topic: string, options: TailFlags) => {
      const { partition, count, follow, raw, config: file } = options;
      exitWith(
        await (await import("./tail.ts")).tail({
          topic,
          file,
          flags,
          partition,
          start: startOf(options),
          count,
          follow: follow === true,
          raw: raw === true,
        }),
      );
    });
  const log = program.command("log").description("look into the files of the log, and repair them").exitOverride();
  log
    .command("dump <dir>")
    .description("print the batches of a data directory's topics, or of one partition's folder")
    .option("--records", "and the records in them")
    .exitOverride()
    .action(async (directory: string, { records }: { records?: boolean }) => {
      exitWith(await (await import("./log.ts")).logDump(directory, records === true));
    });
  log
    .command("verify <dir>")
    .description("read every batch and index, and say what is damaged; changes nothing")
    .exitOverride()
    .action(async (directory: string) => {
      exitWith(await (await import("./log.ts")).logVerify(directory));
    });
  log
    .command("repair <dir>")
    .description(
      "cut the torn end of a partition, make indexes again; names and leaves alone what was synced, or has whole batches behind it",
    )
    .option("--cut-damage", "also cut there: the partition loses all that lies behind the damage")
    .exitOverride()
    .action(async (directory: string, { cutDamage }: { cutDamage?: boolean }) => {
      exitWith(await (await import("./log.ts")).logRepair(directory, cutDamage === true));
    });
  return program;
}
