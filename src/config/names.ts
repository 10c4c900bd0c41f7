/**
 * One key, three spellings: `log: { segment-bytes: ... }` in the file, `--log.segment-bytes` as a flag, `MILLRACE_LOG_SEGMENT_BYTES`
 * in the environment. In code it is `log.segmentBytes`.
 */

const words = (key: string): string[] => key.split(/(?=[A-Z])|-/).map((word) => word.toLowerCase());

/** As the file spells it. */
export const keyName = (key: string): string => words(key).join("-");

export const dotted = (path: readonly PropertyKey[]): string => path.map((key) => keyName(String(key))).join(".");

export const flagName = (path: readonly string[]): string => `--${dotted(path)}`;

export const environmentName = (path: readonly string[]): string => `MILLRACE_${path.flatMap(words).join("_").toUpperCase()}`;
