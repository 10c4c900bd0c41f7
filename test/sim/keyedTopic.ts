import type { EmbeddedTopic } from "../../src/log/contract/embeddedLog.ts";
import { type KeyedAppend, type KeyedConfig, KeyedModel, type KeyedTransaction } from "./keyedModel.ts";
import { demand } from "./violation.ts";
import type { World } from "./world.ts";

export interface KeyedProducer {
  readonly id: number;
  readonly isTransactional: boolean;
  epoch: number;
  sequence: number;
  /** What it has appended in this epoch, in order; sent again until it is kept. */
  history: KeyedAppend[];
  busy: boolean;
  current: KeyedTransaction | undefined;
}

/** A compacted topic of one partition, with those who append to it. */
export class KeyedTopic {
  readonly model: KeyedModel;
  readonly producers: KeyedProducer[] = [11, 12, 13].map((id, i) => ({
    id,
    isTransactional: i > 0,
    epoch: 0,
    sequence: 0,
    history: [],
    busy: false,
    current: undefined,
  }));
  /** Counted up when the partition is cut: what was read meanwhile says nothing. */
  cuts = 0;

  constructor(
    readonly name: string,
    readonly config: KeyedConfig,
    note: (what: string) => void,
  ) {
    this.model = new KeyedModel(`${name}-0`, config, note);
  }

  log(world: World): EmbeddedTopic {
    const log = world.node.log.topic(this.name);
    demand(log !== undefined, () => `topic ${this.name} is not there`);
    return log;
  }

  /** Retention has moved on; what it took must have been its to take. */
  followStart(world: World): void {
    this.model.startMoved(this.log(world).startOffset(0), world.now().ms);
  }
}
