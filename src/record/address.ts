/**
 * Where a message was published to. Interned by `VirtualHost.address`, so that routing a message that goes where an
 * earlier one went costs one comparison; `encoded` is copied into the journal and into every delivery as it is.
 */
export class Address {
  /** Exchange and routing key as two AMQP short strings: length byte, UTF-8 bytes, twice. At most 512 bytes. */
  readonly encoded: Buffer;

  constructor(
    readonly exchange: string,
    readonly routingKey: string,
  ) {
    const exchangeBytes = Buffer.from(exchange);
    const keyBytes = Buffer.from(routingKey);
    this.encoded = Buffer.concat([Buffer.of(exchangeBytes.length), exchangeBytes, Buffer.of(keyBytes.length), keyBytes]);
  }

  static decode(encoded: Uint8Array): Address {
    const bytes = Buffer.from(encoded.buffer, encoded.byteOffset, encoded.byteLength);
    const exchangeEnd = 1 + (bytes[0] as number);
    const keyEnd = exchangeEnd + 1 + (bytes[exchangeEnd] as number);
    return new Address(bytes.toString("utf8", 1, exchangeEnd), bytes.toString("utf8", exchangeEnd + 1, keyEnd));
  }
}
