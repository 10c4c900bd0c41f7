import type { Flights } from "./flightsFile.ts";

/** A flight as it is published. Written by hand: JSON.stringify of an object costs three times as much, toISOString even more. */
export class FlightMessages {
  private lastDate = Number.NaN;
  private lastText = "";

  constructor(private readonly flights: Flights) {}

  routingKey(id: number): string {
    return `${this.flights.origins[id]}.${this.flights.destinations[id]}`;
  }

  content(id: number): Buffer {
    const { delays, distances, origins, destinations } = this.flights;
    // airport codes are letters and digits only: nothing to escape, and latin1 is JSON's ASCII
    const text = `{"id":${id},"date":"${this.dateText(id)}","delay":${delays[id]},"distance":${distances[id]},"origin":"${origins[id]}","destination":"${destinations[id]}"}`;
    return Buffer.from(text, "latin1");
  }

  /** Flights of the same minute follow each other. */
  private dateText(id: number): string {
    const date = this.flights.dates[id] as number;
    if (date !== this.lastDate) {
      this.lastDate = date;
      this.lastText = new Date(date).toISOString();
    }
    return this.lastText;
  }
}
