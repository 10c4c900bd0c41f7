/** A child process's side of the channel to the demo. Without it (the demo died) the child ends too. */
export function tellParent<T>(message: T): void {
  if (process.connected) process.send?.(message);
}

export function onParent<T>(handle: (message: T) => void): void {
  process.on("message", (message) => handle(message as T));
  process.on("disconnect", () => process.exit(0));
  // a Ctrl-C goes to the whole group: the demo ends its children itself, in its order
  process.on("SIGINT", () => undefined);
}
