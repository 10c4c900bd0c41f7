/** Pipeline files as a user would write them. */
import fs from "node:fs";
import path from "node:path";

export const counting = (name: string, inMap = "reading"): string => `
import { map } from "rxjs";
import { aggregate, count, keyBy, pipeline, topic, tumbling } from "millrace";
import { parquet } from "millrace/connectors/parquet";
import { z } from "zod";

const Reading = z.object({ id: z.number(), sensor: z.string(), at: z.date() });
const readings = topic("readings", Reading);

export default pipeline(${JSON.stringify(name)}, ({ source, sink }) => {
  const all = source(readings, { eventTime: (reading) => reading.at, outOfOrderness: "5 s" }).pipe(map((reading) => ${inMap}));
  sink(all, parquet({ to: "out/${name}/raw" }), { id: "raw" });
  sink(all.pipe(keyBy("sensor"), tumbling("1 min"), aggregate({ readings: count() })), parquet({ to: "out/${name}/counts" }), { id: "counts" });
});
`;

export function writePipeline(folder: string, file: string, text: string): string {
  const where = path.join(folder, file);
  // whoever watches the file sees the old one or the new one, never an empty one
  fs.writeFileSync(`${where}.new`, text);
  fs.renameSync(`${where}.new`, where);
  return where;
}
