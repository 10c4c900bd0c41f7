import type { NodeConfig } from "../config/nodeConfig.ts";
import type { NodeStatus } from "../server/status.ts";
import { style } from "./terminal.ts";

/** What somebody wants to know in the first five minutes, with lines to paste. */
export function banner(status: NodeStatus, config: NodeConfig): string {
  const uri = status.addresses.amqp;
  const wanted = config.listeners.amqp.port;
  const port = Number(new URL(uri).port);
  const pipelines = status.pipelines.map((pipeline) => `${pipeline.name} (${pipeline.state})`);
  const lines = [
    "",
    `  ${style(`millrace ${status.version}`, "bold")}  dev: ${login(config)}, loopback only`,
    "",
    `  AMQP       ${style(uri, "green")}${wanted === 0 || wanted === port ? "" : style(`   (port ${wanted} is taken)`, "yellow")}`,
    `  data       ${config.data}`,
    `  pipelines  ${pipelines.length === 0 ? style("none: name their files behind 'millrace dev'", "dim") : pipelines.join(", ")}`,
    "",
    `  try        npx -y -p amqplib node -e '${publishOne(uri)}'`,
    `             npx millrace status --data ${shellWord(config.data)}`,
    `             npx millrace stop --data ${shellWord(config.data)}`,
    "",
  ];
  return lines.join("\n");
}

/** A file with users of its own has taken guest away. */
const login = ({ auth }: NodeConfig): string =>
  auth.users.some(({ name, password }) => name === "guest" && password === "guest")
    ? "guest/guest"
    : `users of the configuration: ${auth.users.map(({ name }) => name).join(", ") || "none"}`;

const publishOne = (uri: string): string =>
  `require("amqplib").connect("${uri}").then(async c=>{const h=await c.createConfirmChannel();await h.assertQueue("hello");` +
  `h.sendToQueue("hello",Buffer.from("{}"));await h.waitForConfirms();console.log("confirmed");c.close()})`;

const shellWord = (text: string): string => (/^[\w./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);
