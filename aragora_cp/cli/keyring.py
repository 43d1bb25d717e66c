"""The tokens and the Flower password of a `dev` folder, kept over restarts for as long as they are good."""

from __future__ import annotations

import json
import secrets
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from aragora_cp.embedded import write_private
from aragora_cp.errors import Unauthenticated
from aragora_cp.model import Role
from aragora_cp.store.tokens import TokenStore
from aragora_cp.tenancy.signing import new_key
from aragora_cp.tenancy.tokens import TokenIssuer, check_token

FLOWER_USER = "aragora"


@dataclass(frozen=True)
class Keyring:
    """A platform admin's token, the shared agents' token, Flower's password."""

    token: str = field(repr=False)
    agent_token: str = field(repr=False)
    flower_password: str = field(repr=False)


def open_keyring(path: Path, store: TokenStore) -> Keyring:
    """What `path` keeps, with what is missing or not good any more made anew and kept. Raises StoreUnavailable."""
    kept = _read(path)
    keyring = Keyring(
        token=_good(kept.get("token"), Role.ADMIN, store),
        agent_token=_good(kept.get("agent_token"), Role.AGENT, store),
        flower_password=kept.get("flower_password") or secrets.token_urlsafe(12),
    )
    write_private(path, json.dumps(asdict(keyring)))
    return keyring


def audit_key_file(folder: Path) -> str:
    """The file of the key that signs the audit trail's seals; made when there is none yet."""
    path = (folder / "audit-key.pem").resolve()
    if not path.exists():
        write_private(path, new_key())
    return str(path)


def _good(token: str | None, role: Role, store: TokenStore) -> str:
    if token:
        try:
            caller = check_token(store, token)
        except Unauthenticated:
            pass  # revoked, expired, or of a store that was emptied
        else:
            if caller.role is role and caller.workspace is None:
                return token
    return TokenIssuer(store).issue(workspace=None, role=role, name="aragora-cp dev").text


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {name: value for name, value in found.items() if isinstance(value, str)} if isinstance(found, dict) else {}
