import { createHash, randomBytes, timingSafeEqual } from "node:crypto";
import { MillraceError } from "../base/errors.ts";
import type { AuthConfig } from "./config.ts";

const saltBytes = 4;
const hashPrefix = "sha256:";

interface KnownUser {
  readonly name: string;
  readonly loopbackOnly: boolean;
  readonly salt: Buffer;
  readonly hash: Buffer;
}

/** Who may log in. Passwords are kept only as salted hashes, and compared in constant time. */
export class Users {
  private readonly byName: ReadonlyMap<string, KnownUser>;
  /** Compared with where there is no such user, so that the time doesn't tell. */
  private readonly nobody: KnownUser = hashed({ name: "", password: randomBytes(16).toString("hex"), loopbackOnly: true });

  constructor(config: AuthConfig) {
    this.byName = new Map(config.users.map((user) => [user.name, hashed(user)]));
  }

  authenticate(name: string, password: string, remote: { readonly loopback: boolean }): { readonly user: string } | undefined {
    const user = this.byName.get(name) ?? this.nobody;
    const same = timingSafeEqual(digest(user.salt, password), user.hash);
    if (!same || user === this.nobody || (user.loopbackOnly && !remote.loopback)) return undefined;
    return { user: user.name };
  }
}

function hashed({ name, password, loopbackOnly }: AuthConfig["users"][number]): KnownUser {
  if (!password.startsWith(hashPrefix)) {
    const salt = randomBytes(saltBytes);
    return { name, loopbackOnly, salt, hash: digest(salt, password) };
  }
  const bytes = Buffer.from(password.slice(hashPrefix.length), "base64");
  if (bytes.length !== saltBytes + 32) {
    throw new MillraceError("CONFIG_INVALID", `the password hash of user '${name}' is not one`, {
      domain: "user",
      where: "auth.users",
      hint: `Write ${hashPrefix} and base64 of 4 bytes of salt and SHA-256(salt + password), as RabbitMQ does.`,
    });
  }
  return { name, loopbackOnly, salt: bytes.subarray(0, saltBytes), hash: bytes.subarray(saltBytes) };
}

const digest = (salt: Buffer, password: string): Buffer => createHash("sha256").update(salt).update(password).digest();
