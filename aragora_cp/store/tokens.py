"""Tokens in the store: the hash of a secret, never the secret."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import redis

from aragora_cp.config import ControlPlaneConfig
from aragora_cp.errors import Conflict, NotFound, QuotaExceeded
from aragora_cp.model import Role, Scopes
from aragora_cp.store import scripts
from aragora_cp.store.connection import translated
from aragora_cp.store.keys import fleet_keys, workspace_keys

#: The scope of the platform's own tokens; a workspace's is its name.
PLATFORM_SCOPE = "*"
#: For how long a token that was revoked, or has expired, is remembered: its holder is told why.
REMEMBERED_MS = 7 * 24 * 3600 * 1000

_NARROWED = ("task_types", "capabilities", "networks")


@dataclass(frozen=True, slots=True)
class TokenRecord:
    """One token. `digest` is the SHA-256 of its secret, hexadecimal; `old_digest` that of the secret before, good until
    `old_until`. Times are ms, None for never."""

    token_id: str
    workspace: str | None
    role: Role
    name: str
    digest: str
    created_at: int
    expires_at: int | None
    revoked_at: int | None
    scopes: Scopes = field(default_factory=Scopes)
    old_digest: str = ""
    old_until: int = 0
    rotated_at: int | None = None
    last_used_at: int | None = None


class TokenStore:
    """Raises StoreUnavailable from every method; one round trip each, said where it is more. `scope` is a workspace, or
    `PLATFORM_SCOPE`."""

    def __init__(self, client: redis.Redis, config: ControlPlaneConfig) -> None:
        self._client = client
        self._prefix = config.key_prefix
        self._keys = fleet_keys(config.key_prefix)

    def add(
        self,
        token_id: str,
        *,
        workspace: str | None,
        role: Role,
        name: str,
        digest: str,
        lasts_ms: int | None,
        scopes: Scopes,
    ) -> TokenRecord:
        """Enter a new token, good for `lasts_ms` from now (None: for ever). Raises NotFound when there is no such
        workspace, QuotaExceeded. Two round trips for a workspace's."""
        limit = self._most_tokens(workspace) if workspace else ""
        fields: dict[str, Any] = {"role": role.value, "name": name, "digest": digest}
        fields |= {key: json.dumps(told) for key in _NARROWED if (told := getattr(scopes, key)) is not None}
        word, *more = self._run(
            "issue_token",
            token_id,
            workspace or PLATFORM_SCOPE,
            limit,
            "" if lasts_ms is None else lasts_ms,
            REMEMBERED_MS,
            *(part for pair in fields.items() for part in pair),
        )
        if word == b"unknown":
            raise NotFound(f"there is no workspace {workspace!r}")
        if word == b"quota":
            raise QuotaExceeded("max_tokens", *more)
        return _read(token_id, _text(more[0]))

    def get(self, token_id: str) -> tuple[TokenRecord | None, int]:
        """The token, None when there is none, and the store's time in ms."""
        with translated():
            pipe = self._client.pipeline(transaction=False)
            pipe.hgetall(self._keys("token", token_id))
            pipe.time()
            record, (seconds, micros) = pipe.execute()
        return _read(token_id, _text(record)) if record else None, seconds * 1000 + micros // 1000

    def page(self, scope: str, after: str, most: int) -> list[TokenRecord]:
        """Up to `most` of the tokens of `scope` that are not revoked, by id, those after the id `after`."""
        rows = self._run("list_tokens", scope, after, most)
        return [_read(rows[n].decode(), _text(rows[n + 1])) for n in range(0, len(rows), 2)]

    def revoke(self, token_id: str, scope: str = "") -> bool:
        """False when there is no such token (of `scope`, when one is given)."""
        return bool(self._run("revoke_token", token_id, scope, REMEMBERED_MS))

    def rotate(self, token_id: str, *, digest: str, overlap_ms: int, scope: str = "") -> TokenRecord:
        """Give it a new secret; the present one stays good for `overlap_ms`. Raises NotFound, Conflict for a token that
        is revoked or expired."""
        word, *more = self._run("rotate_token", token_id, scope, digest, overlap_ms)
        if word == b"unknown":
            raise NotFound(f"there is no token {token_id!r}")
        if word == b"ended":
            raise Conflict("the token is revoked or has expired; make a new one")
        return _read(token_id, _text(more[0]))

    def note_uses(self, uses: Mapping[str, int]) -> None:
        """Note when tokens were used last, by id in the store's ms."""
        self._run("note_uses", *(part for pair in uses.items() for part in pair))

    def count_failure(self, source: str, most: int, window_ms: int) -> tuple[int, int]:
        """Count a failed authentication of `source`; answers how many there are in this window, and the ms left of
        it."""
        count, left = self._run("count_failure", source, most, window_ms)
        return count, left

    def now(self) -> int:
        """The store's time in ms."""
        with translated():
            seconds, micros = self._client.time()
        return seconds * 1000 + micros // 1000

    def _most_tokens(self, workspace: str) -> str:
        key = workspace_keys(self._prefix, workspace)("workspace")
        with translated():
            status, limit = cast(list[bytes | None], self._client.hmget(key, ["status", "max_tokens"]))
        if status == b"deleting":
            raise NotFound(f"there is no workspace {workspace!r}")
        return limit.decode() if limit else ""

    def _run(self, name: str, *args: Any) -> Any:
        with translated():
            return scripts.run(self._client, scripts.Call(scripts.script(name), self._keys.root, args))


def _text(flat: Any) -> dict[str, str]:
    pairs = flat.items() if isinstance(flat, dict) else zip(flat[::2], flat[1::2], strict=True)
    return {name.decode(): value.decode() for name, value in pairs}


def _read(token_id: str, record: Mapping[str, str]) -> TokenRecord:
    def moment(name: str) -> int | None:
        return int(record[name]) if record.get(name) else None

    return TokenRecord(
        token_id=token_id,
        workspace=record["workspace"] or None,
        role=Role(record["role"]),
        name=record["name"],
        digest=record["digest"],
        created_at=int(record["created_at"]),
        expires_at=moment("expires_at"),
        revoked_at=moment("revoked_at"),
        scopes=Scopes(**{key: tuple(json.loads(record[key])) for key in _NARROWED if key in record}),
        old_digest=record.get("old_digest", ""),
        old_until=moment("old_until") or 0,
        rotated_at=moment("rotated_at"),
        last_used_at=moment("last_used_at"),
    )
