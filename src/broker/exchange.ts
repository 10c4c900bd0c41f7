import type { Arguments, ExchangeOptions } from "./contract.ts";
import type { ExchangeType } from "./exchangeTypes.ts";
import type { Matcher } from "./matcher.ts";

export class Exchange {
  readonly matcher: Matcher;
  /** Where a message goes that none of the bindings takes. */
  readonly alternate: string | undefined;

  constructor(
    readonly name: string,
    readonly type: ExchangeType,
    readonly options: ExchangeOptions,
  ) {
    this.matcher = type.createMatcher();
    this.alternate = alternateOf(options.arguments);
  }
}

const alternateOf = (args: Arguments): string | undefined => args["alternate-exchange"] as string | undefined;
