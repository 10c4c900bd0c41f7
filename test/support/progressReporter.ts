import { appendFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { stripVTControlCharacters } from "node:util";
import type { Reporter, TestCase, TestModule } from "vitest/node";

const messageCharactersMax = 600;

interface Failure {
  readonly message: string;
  readonly stack?: string | undefined;
}

/**
 * Writes what happens into a file while it happens, one line each: what hangs and is killed has told how far it came.
 *
 *     began FILE           its process has been started
 *     passed FILE > TEST
 *     failed FILE:LINE > TEST: ERROR
 *     ended FILE
 *
 * A skipped test is no line.
 */
export class ProgressReporter implements Reporter {
  constructor(private readonly report: string) {
    writeFileSync(report, "");
  }

  onTestModuleQueued(file: TestModule): void {
    this.say(`began ${file.relativeModuleId}`);
  }

  onTestCaseResult(test: TestCase): void {
    const { state, errors = [] } = test.result();
    const file = test.module.relativeModuleId;
    if (state === "passed") this.say(`passed ${file} > ${test.fullName}`);
    if (state === "failed") this.failed(file, test.fullName, errors);
  }

  onTestModuleEnd(file: TestModule): void {
    for (const suite of file.children.allSuites())
      if (suite.errors().length > 0) this.failed(file.relativeModuleId, suite.fullName, suite.errors());
    if (file.errors().length > 0) this.failed(file.relativeModuleId, "the file itself", file.errors());
    this.say(`ended ${file.relativeModuleId}`);
  }

  onTestRunEnd(_files: readonly TestModule[], unhandled: readonly Failure[]): void {
    for (const error of unhandled) this.failed("vitest", "outside of every test", [error]);
  }

  private failed(file: string, name: string, errors: readonly Failure[]): void {
    const text = errors.map(({ message }) => message).join("; ");
    const line = lineIn(file, errors[0]?.stack);
    this.say(`failed ${file}${line} > ${name}: ${oneLine(text).slice(0, messageCharactersMax)}`);
  }

  private say(line: string): void {
    appendFileSync(this.report, `${line}\n`);
  }
}

/** ":12:5", where the error's stack comes through the file. */
function lineIn(file: string, stack = ""): string {
  const place = stack.split("\n").find((line) => line.includes(path.basename(file)));
  return /:\d+:\d+/.exec(place ?? "")?.[0] ?? "";
}

const oneLine = (text: string): string => stripVTControlCharacters(text).replaceAll(/\s*\n\s*/g, " | ");
