import type { Logger } from "../base/logger.ts";
import { silentLogger } from "../base/logger.ts";
import { loadConfig } from "../config/load.ts";
import { type NodeConfigInput, nodeConfig } from "../config/nodeConfig.ts";
import type { Node } from "./node.ts";
import { openNode } from "./openNode.ts";

/** The keys of millrace.yaml, and what only a program can give. The environment is not read. */
export interface NodeOptions extends NodeConfigInput {
  /** Default: silent. */
  readonly logger?: Logger;
  /** Relative paths (of `data`, `pipelines`, sinks) count from here. Default: the working directory. */
  readonly baseDirectory?: string;
}

/** A node in this process: `await using node = await createNode({ data: "./data" })`. */
export async function createNode(options: NodeOptions = {}): Promise<Node> {
  const { logger = silentLogger, baseDirectory = process.cwd(), ...keys } = options;
  const config = loadConfig(nodeConfig, { options: keys, workingDirectory: baseDirectory });
  return openNode(config, { logger, baseDirectory });
}
