import type { Unreachable } from "./coverage.ts";

export const unreachable: readonly Unreachable[] = [];
