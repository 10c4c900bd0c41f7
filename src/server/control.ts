/**
 * The control socket of a node: a Unix socket that only the node's user can open. A client sends one request as a line of JSON and gets
 * one response as a line of JSON: `{"ok":true,...}` or `{"ok":false,"error":{code,message,...}}`.
 */
import fs from "node:fs";
import net from "node:net";
import os from "node:os";
import path from "node:path";
import type { Logger } from "../base/logger.ts";
import { toParts } from "./errorTransfer.ts";

export type ControlRequest = { readonly command: "status" } | { readonly command: "stop"; readonly drain: boolean };

export interface ControlServer {
  readonly path: string;
  close(): Promise<void>;
}

/** A socket's path is limited to 107 bytes by the operating system (104 on some); a longer one moves to the temporary folder. */
const pathBytesMax = 100;
const requestBytesMax = 4096;

export async function serveControl(
  wanted: string,
  answer: (request: ControlRequest) => Promise<unknown>,
  logger: Logger,
): Promise<ControlServer> {
  const folder = Buffer.byteLength(wanted) > pathBytesMax ? fs.mkdtempSync(path.join(os.tmpdir(), "millrace-")) : undefined;
  const socketPath = folder === undefined ? wanted : path.join(folder, "control.sock");
  fs.rmSync(socketPath, { force: true }); // left by a killed node: the directory's lock is ours
  const open = new Set<net.Socket>();
  const server = net.createServer({ allowHalfOpen: true }, (socket) => {
    open.add(socket);
    socket.on("close", () => open.delete(socket));
    socket.on("error", (error) => logger.debug("control connection broke", { error }));
    void serveOne(socket, answer);
  });
  await listenPrivately(server, socketPath);
  return {
    path: socketPath,
    async close() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const socket of open) socket.end();
      setTimeout(() => open.forEach((socket) => socket.destroy()), 1000).unref();
      await closed;
      if (folder !== undefined) fs.rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** The mask is set around the call that binds, so that there is no moment in which another user could connect. */
function listenPrivately(server: net.Server, socketPath: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    const before = process.umask(0o177);
    try {
      server.listen(socketPath, () => resolve());
    } finally {
      process.umask(before);
    }
  });
}

async function serveOne(socket: net.Socket, answer: (request: ControlRequest) => Promise<unknown>): Promise<void> {
  try {
    const request = await readRequest(socket);
    const result = await answer(request);
    socket.end(`${JSON.stringify({ ok: true, result })}\n`);
  } catch (error) {
    socket.end(`${JSON.stringify({ ok: false, error: toParts(error, "CONTROL_FAILED", "the request failed") })}\n`);
  }
}

function readRequest(socket: net.Socket): Promise<ControlRequest> {
  return new Promise((resolve, reject) => {
    let text = "";
    socket.setEncoding("utf8");
    socket.on("data", (chunk: string) => {
      text += chunk;
      const end = text.indexOf("\n");
      if (end < 0 && text.length <= requestBytesMax) return;
      try {
        resolve(parseRequest(text.slice(0, end < 0 ? 0 : end)));
      } catch (error) {
        reject(error);
      }
    });
    socket.on("end", () => reject(new Error("the request ended before its line did")));
  });
}

function parseRequest(line: string): ControlRequest {
  const request = JSON.parse(line) as { command?: unknown; drain?: unknown };
  if (request.command === "status") return { command: "status" };
  if (request.command === "stop") return { command: "stop", drain: request.drain === true };
  throw new Error(`unknown command ${JSON.stringify(request.command)}; known are status and stop`);
}
