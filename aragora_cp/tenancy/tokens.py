"""Bearer tokens: ``acp_<token id>_<secret>``. The server keeps the SHA-256 of the secret and nothing else of it."""

from __future__ import annotations

import hashlib
import hmac
import math
import re
import secrets
import string
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from aragora_cp.errors import InvalidRequest, Unauthenticated
from aragora_cp.lanes import RESERVED_WORKSPACES, WORKSPACE
from aragora_cp.model import Caller, Role

_ALPHABET = string.ascii_letters + string.digits
_SECRET_LENGTH = 43  # of 62 letters: 256 bits
_TOKEN = re.compile(r"acp_([0-9a-f]{16})_([A-Za-z0-9_-]{16,128})")
_NOBODY = hashlib.sha256(b"nobody").hexdigest()

#: How old a token's record may be before it is read again. Revoking must take effect within 2 s everywhere; the rest is
#: left for the read itself.
FRESH = 1.5
#: Records that one process keeps; the one used longest ago goes first.
KEPT = 10_000


class StoredToken(Protocol):
    """One token as the store has it. `workspace` None: the platform's. Times are the store's ms, None for never."""

    @property
    def token_id(self) -> str: ...
    @property
    def workspace(self) -> str | None: ...
    @property
    def role(self) -> Role: ...
    @property
    def name(self) -> str: ...
    @property
    def digest(self) -> str: ...
    @property
    def expires_at(self) -> int | None: ...
    @property
    def revoked_at(self) -> int | None: ...


class TokenRecords(Protocol):
    """Where tokens are kept. Raises StoreUnavailable from every method."""

    def add(
        self, token_id: str, *, workspace: str | None, role: Role, name: str, digest: str, expires_at: int | None
    ) -> StoredToken:
        """Enter a new token."""
        ...

    def get(self, token_id: str) -> tuple[StoredToken | None, int]:
        """The token, None when there is none, and the store's time in ms."""
        ...

    def now(self) -> int:
        """The store's time in ms."""
        ...


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """A new token. `text` is what its holder sends; it exists here and nowhere else."""

    record: StoredToken
    text: str = field(repr=False)


def digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


class TokenIssuer:
    """Makes tokens. Chance is passed in: `new_id` gives 16 hexadecimal digits, `new_secret` an unguessable text."""

    def __init__(
        self,
        records: TokenRecords,
        *,
        new_id: Callable[[], str] = lambda: secrets.token_hex(8),
        new_secret: Callable[[], str] = lambda: "".join(secrets.choice(_ALPHABET) for _ in range(_SECRET_LENGTH)),
    ) -> None:
        self._records = records
        self._new_id = new_id
        self._new_secret = new_secret

    def issue(
        self, *, workspace: str | None, role: Role, name: str = "", expires_in: float | None = None
    ) -> IssuedToken:
        """A token of `workspace` (None: of the platform), valid for `expires_in` seconds by the store's clock (None:
        for ever). Raises InvalidRequest, StoreUnavailable. Two round trips, three with `expires_in`."""
        errors: dict[str, list[str]] = {}
        if workspace is not None and (not WORKSPACE.fullmatch(workspace) or workspace in RESERVED_WORKSPACES):
            errors["workspace"] = ["must be 1 to 63 of a-z, 0-9 and -, and not a reserved word"]
        if role is Role.ADMIN and workspace is not None:
            errors["role"] = ["admin is the platform's role; within a workspace it is operator"]
        if len(name) > 128:
            errors["name"] = ["must be at most 128 characters"]
        if expires_in is not None and not (math.isfinite(expires_in) and expires_in > 0):
            errors["expires_in"] = ["must be a positive number of seconds"]
        if errors:
            raise InvalidRequest(errors)
        token_id, secret = self._new_id(), self._new_secret()
        record = self._records.add(
            token_id,
            workspace=workspace,
            role=role,
            name=name,
            digest=digest(secret),
            expires_at=None if expires_in is None else self._records.now() + math.ceil(expires_in * 1000),
        )
        return IssuedToken(record, f"acp_{token_id}_{secret}")


@dataclass(frozen=True, slots=True)
class _Seen:
    """A record, when it was asked for by our own clock, and the store's time then."""

    record: StoredToken
    at: float
    store_ms: int


class Authenticator:
    """Tells whose a token is. Safe to share between threads.

    A record is read again once it is `FRESH` seconds old, so a token that is revoked stops working within 2 s in every
    process. Unknown ids are never remembered: a new token works at once. Expiry is judged by the store's clock, carried
    on from the last reading by `clock` (monotonic seconds).
    """

    def __init__(
        self,
        records: TokenRecords,
        *,
        clock: Callable[[], float] = time.monotonic,
        fresh: float = FRESH,
        kept: int = KEPT,
    ) -> None:
        self._records = records
        self._clock = clock
        self._fresh = fresh
        self._kept = kept
        self._lock = threading.Lock()
        self._seen: OrderedDict[str, _Seen] = OrderedDict()

    def authenticate(self, text: str) -> StoredToken:
        """The record of the token `text`. Raises Unauthenticated, StoreUnavailable. No round trip while the record is
        fresh, else one."""
        match = _TOKEN.fullmatch(text)
        if match is None:
            raise Unauthenticated("this is not a token of ours")
        token_id, secret = match.groups()
        seen = self._look_up(token_id)
        # An unknown id costs a comparison too, so that the time taken does not tell which ids there are.
        known = hmac.compare_digest(digest(secret), seen.record.digest if seen else _NOBODY)
        if seen is None or not known:
            raise Unauthenticated("the token is not valid")
        record = seen.record
        if record.revoked_at is not None:
            raise Unauthenticated("the token was revoked")
        if record.expires_at is not None and self._store_ms(seen) >= record.expires_at:
            raise Unauthenticated("the token has expired")
        return record

    def _look_up(self, token_id: str) -> _Seen | None:
        asked = self._clock()
        with self._lock:
            seen = self._seen.get(token_id)
            if seen is not None and asked - seen.at < self._fresh:
                self._seen.move_to_end(token_id)
                return seen
        record, store_ms = self._records.get(token_id)
        with self._lock:
            if record is None:
                self._seen.pop(token_id, None)
                return None
            seen = _Seen(record, asked, store_ms)
            self._seen[token_id] = seen
            self._seen.move_to_end(token_id)
            if len(self._seen) > self._kept:
                self._seen.popitem(last=False)
        return seen

    def _store_ms(self, seen: _Seen) -> int:
        return seen.store_ms + int((self._clock() - seen.at) * 1000)


def check_token(records: TokenRecords, text: str) -> Caller:
    """Whose token this is, for a process that asks once. Raises Unauthenticated, StoreUnavailable. One round trip."""
    token = Authenticator(records).authenticate(text)
    return Caller(token.token_id, token.workspace, token.role)
