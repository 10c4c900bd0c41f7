/** Talks to a running node over its control socket. */
import net from "node:net";
import { MillraceError } from "../base/errors.ts";
import type { ControlRequest } from "../server/control.ts";
import { type ErrorParts, fromParts } from "../server/errorTransfer.ts";

export function ask(socketPath: string, request: ControlRequest): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const socket = net.connect(socketPath);
    let text = "";
    socket.setEncoding("utf8");
    socket.on("connect", () => socket.write(`${JSON.stringify(request)}\n`));
    socket.on("data", (chunk: string) => {
      text += chunk;
    });
    socket.on("end", () => {
      socket.end();
      try {
        resolve(resultOf(text, socketPath));
      } catch (error) {
        reject(error);
      }
    });
    socket.on("error", (error) => reject(unreachable(socketPath, error)));
  });
}

function resultOf(text: string, socketPath: string): unknown {
  if (text === "") throw unreachable(socketPath, new Error("the node closed the connection without an answer"));
  const answer = JSON.parse(text) as { ok: boolean; result?: unknown; error?: ErrorParts };
  if (!answer.ok && answer.error !== undefined) throw fromParts(answer.error);
  return answer.result;
}

const unreachable = (socketPath: string, cause: Error): MillraceError =>
  new MillraceError("NODE_UNREACHABLE", "the node does not answer on its control socket", {
    domain: "external",
    where: socketPath,
    cause,
    hint: "It may have ended just now, or belong to another user.",
  });
