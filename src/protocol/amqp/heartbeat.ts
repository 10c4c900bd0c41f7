import type { Clock, Timer } from "../../base/clock.ts";

export interface HeartbeatPeer {
  /** Frames written so far. */
  writes(): number;
  /** We don't read from it at the moment: its silence says nothing. */
  isHeld(): boolean;
  sendHeartbeat(): void;
  /** Nothing came for two intervals. */
  lost(): void;
}

/** Looked at twice an interval: a heartbeat goes out when nothing else did; four looks without a byte are two intervals. */
const looksPerInterval = 2;
const silentLooksMax = 4;

export class Heartbeat {
  /** Set with every chunk that comes. */
  received = false;
  private silentLooks = 0;
  private writesSeen = 0;
  private timer: Timer | undefined;

  constructor(
    private readonly clock: Clock,
    private readonly peer: HeartbeatPeer,
  ) {}

  /** 0: none. */
  start(intervalSeconds: number): void {
    if (intervalSeconds > 0) this.arm((intervalSeconds * 1000) / looksPerInterval);
  }

  stop(): void {
    this.timer?.cancel();
    this.timer = undefined;
  }

  private arm(delayMs: number): void {
    this.timer = this.clock.after(delayMs, () => {
      if (this.look()) this.arm(delayMs);
    });
  }

  private look(): boolean {
    const { peer } = this;
    if (peer.writes() === this.writesSeen) peer.sendHeartbeat();
    this.writesSeen = peer.writes();
    this.silentLooks = this.received || peer.isHeld() ? 0 : this.silentLooks + 1;
    this.received = false;
    if (this.silentLooks < silentLooksMax) return true;
    peer.lost();
    return false;
  }
}
