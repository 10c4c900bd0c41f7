import type { FrameReader } from "./codec/frameReader.ts";

/** Why nothing more is read from a client for now. */
export const Hold = {
  /** A durable operation is under way; what follows it keeps its order. */
  operation: 1,
  /** It had its share of this turn. */
  turn: 2,
  /** The broker's publish budget is used up. */
  publishBudget: 4,
  /** It does not read what we answer. */
  output: 8,
  /** The node is shutting down. */
  shutdown: 16,
} as const;
export type Hold = (typeof Hold)[keyof typeof Hold];

/** What it needs of a socket. */
interface Pausable {
  pause(): unknown;
  resume(): unknown;
}

/**
 * Lets a client's bytes through to the frame reader unless there is a reason to wait. While there is one, the rest of the
 * chunk waits in the reader, and the socket is paused when the next chunk comes: two chunks are held at most.
 */
export class InputGate {
  private holds = 0;
  private turnBytes = 0;
  private socketPaused = false;

  constructor(
    private readonly socket: Pausable,
    private readonly reader: FrameReader,
    private readonly turnBytesMax: number,
  ) {}

  get held(): boolean {
    return this.holds !== 0;
  }

  push(chunk: Buffer): void {
    if (this.held) this.pauseSocket();
    this.reader.push(chunk);
    this.turnBytes += chunk.length;
    if (this.turnBytes >= this.turnBytesMax) this.hold(Hold.turn);
  }

  newTurn(): void {
    this.turnBytes = 0;
    this.release(Hold.turn);
  }

  hold(why: Hold): void {
    this.holds |= why;
    this.reader.paused = true;
  }

  /** True if the input goes on because of it. */
  release(why: Hold): boolean {
    if ((this.holds & why) === 0) return false;
    this.holds &= ~why;
    if (this.held) return false;
    this.reader.resume();
    if (this.socketPaused && !this.held) {
      this.socketPaused = false;
      this.socket.resume();
    }
    return true;
  }

  /** Nothing holds it any more. */
  open(): void {
    this.release(this.holds as Hold);
  }

  private pauseSocket(): void {
    this.socketPaused = true;
    this.socket.pause();
  }
}
