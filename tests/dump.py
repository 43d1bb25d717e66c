"""Everything that a store holds, as bytes: to look for what must not be there."""

from __future__ import annotations

from typing import Any

import redis


def dump(client: redis.Redis, prefix: str = "") -> bytes:
    """Names, fields and values of every key of every type and database; Celery's queues among them."""
    parts: list[bytes] = []
    for key in client.scan_iter(match=f"{prefix}*", count=1000):
        parts.append(key)
        _flatten(_value(client, key), parts)
    return b"\n".join(parts)


def _value(client: Any, key: bytes) -> Any:
    kind = client.type(key).decode()
    reads = {
        "string": lambda: client.get(key),
        "hash": lambda: client.hgetall(key),
        "list": lambda: client.lrange(key, 0, -1),
        "set": lambda: client.smembers(key),
        "zset": lambda: client.zrange(key, 0, -1),
        "stream": lambda: client.xrange(key),
    }
    return reads[kind]() if kind != "none" else b""


def _flatten(value: Any, parts: list[bytes]) -> None:
    if isinstance(value, bytes):
        parts.append(value)
    elif isinstance(value, dict):
        for name, each in value.items():
            _flatten(name, parts)
            _flatten(each, parts)
    elif isinstance(value, list | tuple | set):
        for each in value:
            _flatten(each, parts)
