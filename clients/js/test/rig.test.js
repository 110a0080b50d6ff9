/** The rig itself: a child that ends too early is told at once, with its last words. */
import assert from "node:assert/strict";
import { createServer } from "node:net";
import { once } from "node:events";
import { test } from "node:test";
import { Child, World } from "./rig.js";

/** The message that something fails with, which must be soon. */
async function failsAtOnce(promise) {
  const start = Date.now();
  const error = await promise.then(() => assert.fail("it did not fail"), (error) => error);
  // A child needs milliseconds to end. A rig that waits on needs 10 s.
  assert.ok(Date.now() - start < 5_000, `took ${Date.now() - start} ms`);
  return error.message;
}

test("a gateway that cannot listen fails its test at once with its last words", async (t) => {
  const taken = createServer().listen(0, "127.0.0.1");
  await once(taken, "listening");
  t.after(() => taken.close());
  const address = `127.0.0.1:${taken.address().port}`;
  const said = await failsAtOnce(World.start(t, "", address));
  assert.ok(said.includes("in use") && said.includes(address), said);
});

test("a gateway that refuses its configuration fails its test at once with its last words", async (t) => {
  assert.match(await failsAtOnce(World.start(t, "[nonsense]\n")), /nonsense/);
});

test("a child that says its last words and ends is shown with them", async (t) => {
  const child = new Child(t, "sh", ["-c", "echo farewell; echo cause >&2; exit 3"]);
  const said = await failsAtOnce(child.until("a welcome", () => false));
  for (const words of ["status 3", "a welcome", "farewell", "cause"]) assert.ok(said.includes(words), said);
});

test("a program that is missing is named at once", async (t) => {
  const child = new Child(t, "no-such-program", []);
  assert.match(await failsAtOnce(child.until("a welcome", () => false)), /no-such-program/);
});
