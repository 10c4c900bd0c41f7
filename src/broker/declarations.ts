/** What a declaration must fulfil: free names, known types, and being the same as what is there already. */
import { checkExchangeArgumentNames } from "./argumentNames.ts";
import { argumentsKey, valueKey } from "./arguments.ts";
import type { Arguments, ExchangeOptions, QueueOptions } from "./contract.ts";
import { accessRefused, preconditionFailed } from "./errors.ts";
import { comparedArguments, shown } from "./queueSettings.ts";

export function checkNameIsFree(kind: "exchange" | "queue", name: string): void {
  if (name.startsWith("amq.")) throw accessRefused(`${kind} name '${name}' contains reserved prefix 'amq.*'`);
  if (Buffer.byteLength(name) > 255) throw preconditionFailed(`${kind} name '${name.slice(0, 40)}...' has more than 255 bytes`);
}

export function checkExchangeArguments(args: Arguments, where: string): void {
  checkExchangeArgumentNames(args, `for ${where}`);
  const alternate = args["alternate-exchange"];
  if (alternate !== undefined && typeof alternate !== "string")
    throw preconditionFailed(`invalid arg 'alternate-exchange' for ${where}: ${shown(alternate)} is not a name`);
}

export function checkSameExchange(now: ExchangeOptions, wanted: ExchangeOptions, where: string): void {
  checkSame("type", now.type, wanted.type, where);
  checkSame("durable", now.durable, wanted.durable, where);
  checkSame("auto_delete", now.autoDelete, wanted.autoDelete, where);
  checkSame("internal", now.internal, wanted.internal, where);
  checkSameArguments(now.arguments, wanted.arguments, where);
}

export function checkSameQueue(now: QueueOptions, wanted: QueueOptions, where: string): void {
  checkSame("durable", now.durable, wanted.durable, where);
  checkSame("auto_delete", now.autoDelete, wanted.autoDelete, where);
  checkSame("exclusive", now.exclusive, wanted.exclusive, where);
  checkSameArguments(comparedArguments(now.arguments), comparedArguments(wanted.arguments), where);
}

function checkSameArguments(now: Arguments, wanted: Arguments, where: string): void {
  if (argumentsKey(now) === argumentsKey(wanted)) return;
  for (const name of new Set([...Object.keys(now), ...Object.keys(wanted)])) {
    const [nowKey, wantedKey] = [now[name], wanted[name]].map((value) => (value === undefined ? undefined : valueKey(value)));
    if (nowKey !== wantedKey) throw inequivalent(name, shown(wanted[name]), shown(now[name]), where);
  }
}

function checkSame(name: string, now: string | boolean, wanted: string | boolean, where: string): void {
  if (now !== wanted) throw inequivalent(name, `'${wanted}'`, `'${now}'`, where);
}

const inequivalent = (name: string, received: string, current: string, where: string): Error =>
  preconditionFailed(`inequivalent arg '${name}' for ${where}: received ${received} but current is ${current}`);
