"""redis-py against every node, with both versions of the protocol.

Arguments: host:port of each node. Prints "ok" at the end.
"""

import sys

import redis


def check(actual, expected):
    assert actual == expected, f"{actual!r}, expected {expected!r}"


def converse(address, protocol):
    """Uses one node as a program would."""
    host, port = address.rsplit(":", 1)
    client = redis.Redis(host=host, port=int(port), protocol=protocol, decode_responses=True)
    key = f"py:{protocol}:{port}"
    check(client.ping(), True)
    check(client.set(key, "v"), True)
    check(client.get(key), "v")
    check(client.set(key, "w", nx=True), None)
    check(client.set(key, "w", xx=True, px=100_000, get=True), "v")
    assert 0 < client.pttl(key) <= 100_000
    check(client.mget([key, "none"]), ["w", None])
    with client.pipeline(transaction=False) as pipeline:
        for number in range(1000):
            pipeline.incr(f"{key}:counter")
            pipeline.set(f"{key}:{number}", number)
        replies = pipeline.execute()
    check(replies[0::2], list(range(1, 1001)))
    check(set(replies[1::2]), {True})
    check(client.get(f"{key}:999"), "999")
    check(len(list(client.scan_iter(match=f"{key}:99?", count=500))), 10)
    try:
        client.incr(key)
    except redis.ResponseError as error:
        check(str(error), "value is not an integer or out of range")
    else:
        raise AssertionError("INCR of a word must fail")
    check(client.info("server")["redis_version"], "7.2.4")
    check(client.delete(key), 1)
    client.close()


def main():
    addresses = sys.argv[1:]
    for protocol in (2, 3):
        for address in addresses:
            converse(address, protocol)
    clients = [redis.Redis(*address.rsplit(":", 1)) for address in addresses]
    for turn, client in enumerate(clients):
        client.set("shared", turn)
        check([int(other.get("shared")) for other in clients], [turn] * len(clients))
    print("ok")


main()
