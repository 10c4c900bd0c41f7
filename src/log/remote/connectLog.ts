import type { MessagePort, TransferListItem } from "node:worker_threads";
import { MillraceError } from "../../base/errors.ts";
import type { FileSystem } from "../../base/fileSystem.ts";
import { encodeBatch } from "../../record/batch.ts";
import type { NewRecord } from "../../record/record.ts";
import type {
  PartitionDescriptor,
  PartitionedLog,
  PartitionReader,
  ProducerIdentity,
  ReaderOptions,
  TopicConfig,
} from "../contract/partitionedLog.ts";
import { OpenHandles } from "../embedded/reading/openHandles.ts";
import { openPartitionReader } from "../embedded/reading/partitionReader.ts";
import { type Answer, type Call, type Calls, uncrossError } from "./protocol.ts";

/** The log of another thread of this process, which serves it at the other end of `port`; this takes the port over. */
export function connectLog(port: MessagePort, fileSystem: FileSystem): PartitionedLog {
  return new RemoteLog(port, fileSystem);
}

/** Readers of this thread that may have files open at the same time; more of them take turns. */
const READERS_OPEN_MAX = 250;

interface Waiting {
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: MillraceError) => void;
}

class RemoteLog implements PartitionedLog {
  private readonly waiting = new Map<number, Waiting>();
  private lastId = 0;
  private closed = false;
  private readonly handles = new OpenHandles(READERS_OPEN_MAX);

  constructor(
    private readonly port: MessagePort,
    private readonly fileSystem: FileSystem,
  ) {
    port.on("message", (answer: Answer) => {
      const waiting = this.waiting.get(answer.id);
      this.waiting.delete(answer.id);
      if ("error" in answer) waiting?.reject(uncrossError(answer.error));
      else waiting?.resolve(answer.result);
    });
    port.on("close", () => {
      this.closed = true;
      for (const { reject } of this.waiting.values()) reject(disconnected());
      this.waiting.clear();
    });
  }

  createTopic(name: string, config: Partial<TopicConfig> = {}): Promise<Calls["createTopic"]["result"]> {
    return this.call("createTopic", { name, config });
  }

  describeTopic(name: string): Promise<Calls["describeTopic"]["result"]> {
    return this.call("describeTopic", { name });
  }

  async openReader(descriptor: PartitionDescriptor, options: ReaderOptions = {}): Promise<PartitionReader> {
    return openPartitionReader(descriptor, options, this.fileSystem, this.handles);
  }

  async append(
    producer: ProducerIdentity,
    topic: string,
    partition: number,
    sequence: number,
    records: readonly NewRecord[],
  ): Promise<void> {
    const batch = encoded(records);
    await this.call("append", { producer, topic, partition, sequence, batch }, [batch]);
  }

  producerState(name: string, topic: string, partition: number): Promise<Calls["producerState"]["result"]> {
    return this.call("producerState", { name, topic, partition });
  }

  sync(topic: string): Promise<void> {
    return this.call("sync", { topic });
  }

  private call<C extends Call>(
    call: C,
    args: Calls[C]["arguments"],
    transfer: readonly TransferListItem[] = [],
  ): Promise<Calls[C]["result"]> {
    if (this.closed) return Promise.reject(disconnected());
    const id = ++this.lastId;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve: resolve as (result: unknown) => void, reject });
      this.port.postMessage({ id, call, arguments: args }, transfer);
    });
  }
}

/** In memory of exactly its size, so that it can be transferred. */
function encoded(records: readonly NewRecord[]): ArrayBuffer {
  if (records.length === 0) return new ArrayBuffer(0);
  const { buffer, byteOffset, byteLength } = encodeBatch(records);
  return (buffer as ArrayBuffer).slice(byteOffset, byteOffset + byteLength);
}

const disconnected = (): MillraceError =>
  new MillraceError(
    "LOG_DISCONNECTED",
    "The thread that has the log closed the connection; whether the call was carried out is not known.",
    {
      domain: "external",
      hint: "It happens when the node stops.",
    },
  );
