import { expect, test } from "vitest";
import { authSchema } from "../../src/broker/config.ts";
import { Users } from "../../src/broker/users.ts";

const here = { loopback: true };
const away = { loopback: false };

test("without a word in the configuration guest logs in, from this machine only", () => {
  const users = new Users(authSchema.parse({}));
  expect(users.authenticate("guest", "guest", here)).toEqual({ user: "guest" });
  expect(users.authenticate("guest", "guest", away)).toBeUndefined();
  expect(users.authenticate("guest", "Guest", here)).toBeUndefined();
  expect(users.authenticate("", "", here)).toBeUndefined();
});

test("named users log in from anywhere, with a password or the hash that RabbitMQ makes of it; guest is then gone", () => {
  // the example of RabbitMQ's documentation, of the password test12
  const hash = "sha256:kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR";
  const config = {
    users: [
      { name: "ann", password: "pä ss" },
      { name: "bob", password: hash, loopbackOnly: true },
    ],
  };
  const users = new Users(authSchema.parse(config));
  expect(users.authenticate("ann", "pä ss", away)).toEqual({ user: "ann" });
  expect(users.authenticate("ann", "", away)).toBeUndefined();
  expect(users.authenticate("bob", "test12", here)).toEqual({ user: "bob" });
  expect(users.authenticate("bob", "test12", away)).toBeUndefined();
  expect(users.authenticate("bob", hash, here)).toBeUndefined();
  expect(users.authenticate("guest", "guest", here)).toBeUndefined();
  expect(JSON.stringify(users)).not.toContain("pä ss");
});

test("a broken hash, an unknown key and two users of one name are refused", () => {
  expect(() => new Users(authSchema.parse({ users: [{ name: "a", password: "sha256:AAAA" }] }))).toThrow("password hash of user 'a'");
  expect(authSchema.safeParse({ users: [{ name: "a", password: "b", passwort: "c" }] }).success).toBe(false);
  const twice = authSchema.safeParse({
    users: [
      { name: "a", password: "b" },
      { name: "a", password: "c" },
    ],
  });
  expect(twice.error?.issues[0]?.message).toBe("two users have the same name");
});
