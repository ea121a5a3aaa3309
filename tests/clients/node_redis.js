// node-redis against every node, with both versions of the protocol.
// Arguments: host:port of each node. Prints "ok" at the end.
"use strict";

const assert = require("node:assert");
const { createClient } = require("redis");

async function converse(address, RESP) {
  const client = createClient({
    url: `redis://${address}`,
    RESP,
    socket: { reconnectStrategy: false },
  });
  await client.connect();
  const key = `node:${RESP}:${address}`;
  assert.equal(await client.ping(), "PONG");
  assert.equal(await client.set(key, "v"), "OK");
  assert.equal(await client.get(key), "v");
  assert.equal(await client.sendCommand(["SET", key, "w", "NX"]), null);
  assert.equal(await client.sendCommand(["SET", key, "w", "PX", "100000"]), "OK");
  assert.ok((await client.pTTL(key)) > 0);
  assert.deepEqual(await client.mGet([key, "none"]), ["w", null]);
  const pipeline = client.multi();
  for (let number = 0; number < 1000; number += 1) {
    pipeline.incr(`${key}:counter`);
  }
  const replies = await pipeline.execAsPipeline();
  replies.forEach((reply, number) => assert.equal(reply, number + 1));
  // Commands of one turn of the event loop also share one write.
  const numbers = Array.from({ length: 500 }, (_, number) => number);
  await Promise.all(numbers.map((number) => client.set(`${key}:${number}`, String(number))));
  const found = await Promise.all(numbers.map((number) => client.get(`${key}:${number}`)));
  assert.deepEqual(found, numbers.map(String));
  await assert.rejects(client.incr(key), /value is not an integer/);
  assert.equal(await client.del(key), 1);
  await client.close();
}

async function main() {
  for (const address of process.argv.slice(2)) {
    for (const RESP of [2, 3]) {
      await converse(address, RESP);
    }
  }
  console.log("ok");
}

main();
