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
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from aragora_cp.errors import InvalidRequest, Unauthenticated, UnknownToken
from aragora_cp.lanes import RESERVED_WORKSPACES, WORKSPACE
from aragora_cp.model import Caller, Role, Scopes
from aragora_cp.tenancy.cache import FRESH, KEPT, Copy, FreshCache
from aragora_cp.tenancy.scopes import checked

_ALPHABET = string.ascii_letters + string.digits
_SECRET_LENGTH = 43  # of 62 letters: 256 bits
_TOKEN = re.compile(r"acp_([0-9a-f]{16})_([A-Za-z0-9_-]{16,128})")
_NOBODY = hashlib.sha256(b"nobody").hexdigest()

#: Seconds for which the secret before stays good after a rotation, where nothing else is said; and the most.
OVERLAP = 300.0
LONGEST_OVERLAP = 7 * 86400.0
#: Use of a token is noted once in so many ms.
USE_NOTED_EVERY_MS = 60_000
_MOST_USES = 10_000


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
    def old_digest(self) -> str: ...
    @property
    def old_until(self) -> int: ...
    @property
    def scopes(self) -> Scopes: ...
    @property
    def created_at(self) -> int: ...
    @property
    def expires_at(self) -> int | None: ...
    @property
    def revoked_at(self) -> int | None: ...
    @property
    def rotated_at(self) -> int | None: ...
    @property
    def last_used_at(self) -> int | None: ...


class TokenReader(Protocol):
    """Raises StoreUnavailable."""

    def get(self, token_id: str) -> tuple[StoredToken | None, int]:
        """The token, None when there is none, and the store's time in ms."""
        ...


class TokenRecords(Protocol):
    """Where tokens are kept. Raises StoreUnavailable from every method."""

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
    ) -> StoredToken:
        """Enter a new token. Raises NotFound for a workspace that there is not, QuotaExceeded."""
        ...

    def rotate(self, token_id: str, *, digest: str, overlap_ms: int, scope: str = "") -> StoredToken:
        """Give a token (of `scope`, when one is named) a new secret. Raises NotFound, Conflict."""
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
        self,
        *,
        workspace: str | None,
        role: Role,
        name: str = "",
        expires_in: float | None = None,
        scopes: Scopes = Scopes(),  # noqa: B008 - frozen
    ) -> IssuedToken:
        """A token of `workspace` (None: of the platform), valid for `expires_in` seconds by the store's clock (None:
        for ever) and narrowed to `scopes`. Raises InvalidRequest, NotFound for a workspace that there is not,
        QuotaExceeded, StoreUnavailable. At most two round trips."""
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
            lasts_ms=None if expires_in is None else math.ceil(expires_in * 1000),
            scopes=checked(scopes),
        )
        return IssuedToken(record, f"acp_{token_id}_{secret}")

    def rotate(self, token_id: str, *, overlap: float = OVERLAP, scope: str = "") -> IssuedToken:
        """Give a token a new secret; the present one stays good for `overlap` seconds, one that was rotated before does
        not. `scope`: it must be of this workspace, or of `*`, the platform. Raises InvalidRequest, NotFound, Conflict,
        StoreUnavailable. One round trip."""
        if not 0 <= overlap <= LONGEST_OVERLAP:
            raise InvalidRequest({"overlap": [f"must be 0 to {LONGEST_OVERLAP:g} seconds"]})
        secret = self._new_secret()
        record = self._records.rotate(
            token_id, digest=digest(secret), overlap_ms=math.ceil(overlap * 1000), scope=scope
        )
        return IssuedToken(record, f"acp_{token_id}_{secret}")


@dataclass(frozen=True, slots=True)
class _Read:
    """A record, and the store's time when it was read."""

    record: StoredToken
    store_ms: int


class Authenticator:
    """Tells whose a token is. Safe to share between threads.

    A record is read again once it is `FRESH` seconds old, so a token that is revoked stops working within 2 s in every
    process, and at once where the change is pushed (`forget`). Unknown ids are never remembered: a new token works at
    once. Expiry is judged by the store's clock, carried on from the last reading by `clock` (monotonic seconds).
    """

    def __init__(
        self,
        records: TokenReader,
        *,
        clock: Callable[[], float] = time.monotonic,
        fresh: float = FRESH,
        kept: int = KEPT,
    ) -> None:
        self._records = records
        self._clock = clock
        self._cache: FreshCache[_Read] = FreshCache(clock=clock, fresh=fresh, kept=kept)
        self._uses_lock = threading.Lock()
        self._uses: dict[str, int] = {}

    def authenticate(self, text: str) -> StoredToken:
        """The record of the token `text`. Raises UnknownToken, Unauthenticated when it was good once, StoreUnavailable.
        No round trip while the record is fresh, else one."""
        token_id, secret = _parts(text)
        copy = self._cache.get(token_id, lambda: self._read(token_id))
        # An unknown id costs the comparisons too, so that the time taken does not tell which ids there are.
        record = copy.value.record if copy else None
        sent = digest(secret)
        present = hmac.compare_digest(sent, record.digest if record else _NOBODY)
        before = hmac.compare_digest(sent, (record.old_digest if record else "") or _NOBODY)
        if copy is None or record is None or not (present or before):
            raise UnknownToken("the token is not valid")
        now = self._store_ms(copy)
        if record.revoked_at is not None:
            raise Unauthenticated("the token was revoked")
        if record.expires_at is not None and now >= record.expires_at:
            raise Unauthenticated("the token has expired")
        if not present and now >= record.old_until:
            raise Unauthenticated("the token was rotated; this is its old secret")
        self._note_use(record, now)
        return record

    def forget(self, token_id: str | None = None) -> None:
        """Read it anew next time; without an id, all."""
        self._cache.forget(token_id)

    def take_uses(self) -> Mapping[str, int]:
        """When tokens were used last, in the store's ms, as far as it is worth noting; each is told once."""
        with self._uses_lock:
            uses, self._uses = self._uses, {}
        return uses

    def _read(self, token_id: str) -> _Read | None:
        record, store_ms = self._records.get(token_id)
        return None if record is None else _Read(record, store_ms)

    def _store_ms(self, copy: Copy[_Read]) -> int:
        return copy.value.store_ms + int((self._clock() - copy.at) * 1000)

    def _note_use(self, record: StoredToken, now: int) -> None:
        if now - (record.last_used_at or 0) < USE_NOTED_EVERY_MS:
            return
        with self._uses_lock:
            if record.token_id in self._uses or len(self._uses) < _MOST_USES:
                self._uses[record.token_id] = now


def claimed_id(authorization: str) -> str:
    """The token id that an `Authorization` header tells, whether or not its secret is right; '' when it tells none."""
    match = _TOKEN.fullmatch(authorization.strip().rpartition(" ")[2])
    return match[1] if match else ""


def check_token(records: TokenReader, text: str) -> Caller:
    """Whose token this is, for a process that asks once. Raises Unauthenticated, StoreUnavailable. One round trip."""
    token = Authenticator(records).authenticate(text)
    return Caller(token.token_id, token.workspace, token.role, scopes=token.scopes)


def _parts(text: str) -> tuple[str, str]:
    """Id and secret. Raises UnknownToken."""
    match = _TOKEN.fullmatch(text)
    if match is None:
        raise UnknownToken("this is not a token of ours")
    return match[1], match[2]
