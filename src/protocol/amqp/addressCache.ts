import { isUtf8 } from "node:buffer";
import type { VirtualHost } from "../../broker/contract.ts";
import type { Address } from "../../record/address.ts";
import { ProtocolError } from "./codec/protocolError.ts";

const slots = 4096;

/**
 * Exchange and routing key of a publish as an `Address`, without making a string: the two short strings are hashed and compared
 * as they stand in the frame (60 ns; a string and a Map lookup cost 250). An address that hashes like another takes its slot.
 */
export class AddressCache {
  private readonly addresses: (Address | undefined)[] = Array.from({ length: slots });

  constructor(private readonly virtualHost: VirtualHost) {}

  /** `bytes[start..end)`: two short strings, lengths checked. */
  at(bytes: Buffer, start: number, end: number): Address {
    let hash = 0;
    for (let at = start; at < end; at++) hash = (Math.imul(hash, 31) + (bytes[at] as number)) | 0;
    const slot = (hash ^ (hash >>> 15)) & (slots - 1);
    const known = this.addresses[slot];
    if (known !== undefined && same(known.encoded, bytes, start, end)) return known;
    const address = this.decode(bytes, start, end);
    this.addresses[slot] = address;
    return address;
  }

  private decode(bytes: Buffer, start: number, end: number): Address {
    const exchangeEnd = start + 1 + (bytes[start] as number);
    const exchange = bytes.subarray(start + 1, exchangeEnd);
    const routingKey = bytes.subarray(exchangeEnd + 1, end);
    if (!isUtf8(exchange) || !isUtf8(routingKey))
      throw new ProtocolError("SYNTAX_ERROR", "an exchange's name or a routing key is not UTF-8");
    return this.virtualHost.address(exchange.toString("utf8"), routingKey.toString("utf8"));
  }
}

function same(encoded: Buffer, bytes: Buffer, start: number, end: number): boolean {
  if (encoded.length !== end - start) return false;
  for (let i = 0; i < encoded.length; i++) if (encoded[i] !== bytes[start + i]) return false;
  return true;
}
