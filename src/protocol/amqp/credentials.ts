import { ByteReader } from "./codec/byteReader.ts";
import { readTable } from "./codec/fieldTable.ts";
import { ProtocolError } from "./codec/protocolError.ts";

export interface Credentials {
  readonly user: string;
  readonly password: string;
}

/** SASL mechanisms: how each one's response is read. */
const mechanisms: Readonly<Record<string, (response: Buffer) => Credentials>> = { PLAIN: plain, AMQPLAIN: amqplain };

export const mechanismNames = Object.keys(mechanisms).join(" ");

export function readCredentials(mechanism: string, response: Buffer): Credentials {
  const read = Object.hasOwn(mechanisms, mechanism) ? mechanisms[mechanism] : undefined;
  if (read === undefined) throw new ProtocolError("ACCESS_REFUSED", `unknown authentication mechanism ${JSON.stringify(mechanism)}`);
  return read(response);
}

/** [authorize as] NUL user NUL password */
function plain(response: Buffer): Credentials {
  const [, user, password, ...more] = response.toString("utf8").split("\0");
  if (user === undefined || password === undefined || more.length > 0) throw malformed();
  return { user, password };
}

/** A field table without its length. */
function amqplain(response: Buffer): Credentials {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(response.length);
  const table = readTable(new ByteReader(Buffer.concat([length, response]), 0, response.length + 4));
  const { LOGIN: user, PASSWORD: password } = table;
  if (typeof user !== "string" || typeof password !== "string") throw malformed();
  return { user, password };
}

const malformed = (): ProtocolError => new ProtocolError("ACCESS_REFUSED", "malformed authentication response");
