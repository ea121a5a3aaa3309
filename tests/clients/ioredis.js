// ioredis against every node. Arguments: host:port of each node. Prints "ok" at the end.
"use strict";

const assert = require("node:assert");
const { Redis } = require("ioredis");

async function converse(address) {
  const [host, port] = address.split(":");
  const client = new Redis({ host, port: Number(port), maxRetriesPerRequest: 0 });
  const key = `io:${port}`;
  assert.equal(await client.ping(), "PONG");
  assert.equal(await client.set(key, "v"), "OK");
  assert.equal(await client.get(key), "v");
  assert.equal(await client.set(key, "w", "NX"), null);
  assert.equal(await client.set(key, "w", "PX", 100000), "OK");
  assert.ok((await client.pttl(key)) > 0);
  assert.deepEqual(await client.mget(key, "none"), ["w", null]);
  const pipeline = client.pipeline();
  for (let number = 0; number < 1000; number += 1) {
    pipeline.incr(`${key}:counter`);
  }
  const replies = await pipeline.exec();
  replies.forEach(([error, reply], number) => {
    assert.equal(error, null);
    assert.equal(reply, number + 1);
  });
  await assert.rejects(client.incr(key), /value is not an integer/);
  assert.equal(await client.del(key), 1);
  await client.quit();
}

async function main() {
  const addresses = process.argv.slice(2);
  for (const address of addresses) {
    await converse(address);
  }
  console.log("ok");
}

main();
