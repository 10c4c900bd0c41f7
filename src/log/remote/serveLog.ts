import type { MessagePort } from "node:worker_threads";
import { records } from "../../record/batch.ts";
import type { PartitionedLog } from "../contract/partitionedLog.ts";
import { type Answer, crossError, type Request } from "./protocol.ts";

/**
 * Answers the requests of one `connectLog` at the other end of `port`, which this takes over. Appends to a partition are made in the order
 * in which they were sent. Ends when either side closes the port.
 */
export function serveLog(log: PartitionedLog, port: MessagePort): void {
  port.on("message", (request: Request) => {
    carryOut(log, request).then(
      (result) => port.postMessage({ id: request.id, result } satisfies Answer),
      (error: unknown) => port.postMessage({ id: request.id, error: crossError(error) } satisfies Answer),
    );
  });
}

async function carryOut(log: PartitionedLog, request: Request): Promise<unknown> {
  switch (request.call) {
    case "createTopic":
      return log.createTopic(request.arguments.name, request.arguments.config);
    case "describeTopic":
      return log.describeTopic(request.arguments.name);
    case "append": {
      const { producer, topic, partition, sequence, batch } = request.arguments;
      return log.append(producer, topic, partition, sequence, [...records(Buffer.from(batch))]);
    }
    case "producerState":
      return log.producerState(request.arguments.name, request.arguments.topic, request.arguments.partition);
    case "sync":
      return log.sync(request.arguments.topic);
  }
}
