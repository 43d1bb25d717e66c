"""Tokens in the store: the hash of a secret, never the secret."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import redis

from aragora_cp.config import ControlPlaneConfig
from aragora_cp.model import Role
from aragora_cp.store import scripts
from aragora_cp.store.connection import translated
from aragora_cp.store.keys import fleet_keys


@dataclass(frozen=True, slots=True)
class TokenRecord:
    """One token. `digest` is the SHA-256 of its secret, hexadecimal; times are ms, None for never."""

    token_id: str
    workspace: str | None
    role: Role
    name: str
    digest: str
    created_at: int
    expires_at: int | None
    revoked_at: int | None


class TokenStore:
    """Raises StoreUnavailable from every method; one round trip each, said where it is more."""

    def __init__(self, client: redis.Redis, config: ControlPlaneConfig) -> None:
        self._client = client
        self._keys = fleet_keys(config.key_prefix)

    def add(
        self,
        token_id: str,
        *,
        workspace: str | None,
        role: Role,
        name: str,
        digest: str,
        expires_at: int | None,
    ) -> TokenRecord:
        """Enter a new token; the store's clock says when. Two round trips."""
        with translated():
            created = self.now()
            fields: dict[Any, Any] = {
                "workspace": workspace or "",
                "role": role.value,
                "name": name,
                "digest": digest,
                "created_at": created,
                "expires_at": expires_at or "",
            }
            pipe = self._client.pipeline(transaction=True)
            pipe.hset(self._keys("token", token_id), mapping=fields)
            pipe.zadd(self._keys("tokens", workspace or "*"), {token_id: 0})
            pipe.execute()
        return TokenRecord(token_id, workspace, role, name, digest, created, expires_at, None)

    def get(self, token_id: str) -> tuple[TokenRecord | None, int]:
        """The token, None when there is none, and the store's time in ms."""
        with translated():
            pipe = self._client.pipeline(transaction=False)
            pipe.hgetall(self._keys("token", token_id))
            pipe.time()
            record, (seconds, micros) = pipe.execute()
        now = seconds * 1000 + micros // 1000
        if not record:
            return None, now
        text = {name.decode(): value.decode() for name, value in record.items()}
        return TokenRecord(
            token_id=token_id,
            workspace=text["workspace"] or None,
            role=Role(text["role"]),
            name=text["name"],
            digest=text["digest"],
            created_at=int(text["created_at"]),
            expires_at=int(text["expires_at"]) if text["expires_at"] else None,
            revoked_at=int(text["revoked_at"]) if text.get("revoked_at") else None,
        ), now

    def revoke(self, token_id: str) -> bool:
        """False when there is no such token."""
        call = scripts.Call(scripts.script("revoke_token"), self._keys.root, (token_id,))
        with translated():
            return bool(scripts.run(self._client, call))

    def now(self) -> int:
        """The store's time in ms."""
        with translated():
            seconds, micros = self._client.time()
        return seconds * 1000 + micros // 1000
