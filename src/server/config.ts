import { z } from "zod";

/** The keys of millrace.yaml that belong to the node itself; every other layer has its own. */
export const serverConfig = {
  data: z.string().min(1).meta({ path: true, description: "the folder in which the node keeps everything" }).default("./.millrace"),
  pipelines: z
    .array(z.string().min(1).meta({ path: true }))
    .meta({ description: "the files of the pipelines that the node runs, TypeScript or JavaScript" })
    .default([]),
  checkpoints: z
    .strictObject({
      intervalMs: z
        .int()
        .min(1)
        .max(3_600_000)
        .default(1000)
        .meta({ description: "how often a pipeline takes a checkpoint, which is when its results appear" }),
      pullBytesMax: z
        .int()
        .min(1024)
        .max(2 ** 28)
        .default(2 ** 20)
        .meta({ description: "bytes that a pipeline takes from the log at a time, of all its partitions" }),
    })
    .prefault({}),
  logging: z
    .strictObject({
      level: z.enum(["debug", "info", "warn", "error", "silent"]).describe("the least that is logged").default("info"),
      format: z.enum(["auto", "lines", "json"]).describe("lines for people, JSON for programs; auto: lines on a terminal").default("auto"),
    })
    .prefault({}),
};
