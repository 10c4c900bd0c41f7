import { fileURLToPath } from "node:url";

/** From dist/demo as from demo: the project's own folder. */
const inProject = (path: string): string => {
  const here = fileURLToPath(new URL(".", import.meta.url));
  return fileURLToPath(new URL(here.includes("/dist/") ? `../../${path}` : `../${path}`, import.meta.url));
};

export const flightsPath = inProject("node_modules/vega-datasets/data/flights-3m.parquet");
export const airportsPath = inProject("node_modules/vega-datasets/data/airports.csv");
export const nodeEntry = inProject("dist/src/millrace.cjs");
export const pipelinePath = inProject("pipelines/hourly-delays.ts");
/** A compiled file of the demo, to be run as a process of its own. */
export const demoProcess = (name: string): string => inProject(`dist/demo/${name}.js`);
export const outputDirectory = inProject("demo-out");
