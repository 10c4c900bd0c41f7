import type { Flag } from "../config/settings.ts";

/**
 * Takes the flags that set a configuration key (`--log.segment-bytes 1048576`, `--data=./data`) out of the arguments; what is left is for
 * the command. Every flag with a dot in its name is one, and those of `plain`. Nothing behind `--` is.
 */
export function takeConfigFlags(args: readonly string[], plain: ReadonlySet<string>): { readonly flags: Flag[]; readonly rest: string[] } {
  const flags: Flag[] = [];
  const rest: string[] = [];
  for (let index = 0; index < args.length; index++) {
    const argument = args[index] as string;
    if (argument === "--") return { flags, rest: [...rest, ...args.slice(index)] };
    const equals = argument.indexOf("=");
    const name = equals < 0 ? argument : argument.slice(0, equals);
    if (!name.startsWith("--") || !(name.includes(".") || plain.has(name))) {
      rest.push(argument);
    } else if (equals >= 0) {
      flags.push({ name, value: argument.slice(equals + 1) });
    } else {
      const next = args[index + 1];
      // a flag without a value means yes; where the key wants something else, its schema says so
      const hasValue = next !== undefined && !next.startsWith("--");
      flags.push({ name, value: hasValue ? next : "true" });
      if (hasValue) index++;
    }
  }
  return { flags, rest };
}
