/** One key, three spellings: `log.segmentBytes` in the file, `--log.segment-bytes` as a flag, `MILLRACE_LOG_SEGMENT_BYTES`. */

const words = (key: string): string[] => key.split(/(?=[A-Z])/).map((word) => word.toLowerCase());

export const flagName = (path: readonly string[]): string => `--${path.map((key) => words(key).join("-")).join(".")}`;

export const environmentName = (path: readonly string[]): string => `MILLRACE_${path.flatMap(words).join("_").toUpperCase()}`;

export const dotted = (path: readonly PropertyKey[]): string => path.map(String).join(".");
