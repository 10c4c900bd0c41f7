import { topic } from "millrace";
import { z } from "zod";

/** One flight as its publisher sends it; `id` is its row in the original file, `date` when it left. */
export const Flight = z.object({
  id: z.int(),
  date: z.date(),
  delay: z.number(),
  distance: z.number(),
  origin: z.string(),
  destination: z.string(),
});
/** An interface, so that errors and hovers say Flight. */
export interface Flight extends z.infer<typeof Flight> {}

export const flights = topic<Flight>("flights", Flight);
