"""Tokens: how they look, who they belong to, how long a decision may be remembered."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest

from aragora_cp.errors import InvalidRequest, Unauthenticated, UnknownToken
from aragora_cp.model import Role, Scopes
from aragora_cp.store.tokens import TokenRecord
from aragora_cp.tenancy.cache import FRESH
from aragora_cp.tenancy.tokens import USE_NOTED_EVERY_MS, Authenticator, TokenIssuer, check_token, digest


@dataclass
class Records:
    """`TokenRecords` in memory; `ms` is the store's clock."""

    ms: int = 1_000_000
    kept: dict[str, TokenRecord] = field(default_factory=dict)
    reads: int = 0

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
        expires_at = None if lasts_ms is None else self.ms + lasts_ms
        self.kept[token_id] = TokenRecord(token_id, workspace, role, name, digest, self.ms, expires_at, None, scopes)
        return self.kept[token_id]

    def rotate(self, token_id: str, *, digest: str, overlap_ms: int, scope: str = "") -> TokenRecord:
        old = self.kept[token_id]
        self.kept[token_id] = replace(
            old, digest=digest, old_digest=old.digest, old_until=self.ms + overlap_ms, rotated_at=self.ms
        )
        return self.kept[token_id]

    def get(self, token_id: str) -> tuple[TokenRecord | None, int]:
        self.reads += 1
        return self.kept.get(token_id), self.ms

    def revoke(self, token_id: str) -> None:
        self.kept[token_id] = replace(self.kept[token_id], revoked_at=self.ms)


@dataclass
class Clock:
    now: float = 50.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def records() -> Records:
    return Records()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def authenticator(records: Records, clock: Clock) -> Authenticator:
    return Authenticator(records, clock=clock)


@pytest.fixture
def issue(records: Records) -> Callable[..., str]:
    issuer = TokenIssuer(records)

    def make(role: Role = Role.VIEWER, workspace: str | None = "acme", expires_in: float | None = None) -> str:
        return issuer.issue(workspace=workspace, role=role, expires_in=expires_in).text

    return make


class TestIssuing:
    def test_the_text_and_what_is_kept_of_it(self, records: Records) -> None:
        issued = TokenIssuer(records).issue(workspace="acme", role=Role.AGENT, name="ci")
        match = re.fullmatch(r"acp_([0-9a-f]{16})_([A-Za-z0-9]{43})", issued.text)
        assert match
        kept = records.kept[match[1]]
        assert (kept.workspace, kept.role, kept.name, kept.expires_at) == ("acme", Role.AGENT, "ci", None)
        assert kept.digest == digest(match[2])
        assert match[2] not in repr(kept) + repr(issued)

    def test_no_two_are_alike(self, issue: Callable[..., str]) -> None:
        assert len({issue() for _ in range(50)}) == 50

    def test_expiry_counts_from_the_stores_clock(self, records: Records) -> None:
        assert (
            TokenIssuer(records).issue(workspace=None, role=Role.ADMIN, expires_in=1.5).record.expires_at == 1_001_500
        )

    @pytest.mark.parametrize(
        ("changes", "named"),
        [
            ({"workspace": "Acme"}, "workspace"),
            ({"workspace": ""}, "workspace"),
            ({"workspace": "shared"}, "workspace"),
            ({"role": Role.ADMIN}, "role"),
            ({"name": "x" * 129}, "name"),
            ({"expires_in": 0}, "expires_in"),
            ({"expires_in": -1}, "expires_in"),
            ({"expires_in": float("inf")}, "expires_in"),
            ({"expires_in": float("nan")}, "expires_in"),
            ({"scopes": Scopes(task_types=("a b",))}, "task_types"),
            ({"scopes": Scopes(capabilities=("a+b",))}, "capabilities"),
            ({"scopes": Scopes(networks=("10.0.0.0/33",))}, "networks"),
            ({"scopes": Scopes(networks=("10.0.0.0/8",) * 65)}, "networks"),
        ],
    )
    def test_what_makes_no_token(self, records: Records, changes: dict[str, object], named: str) -> None:
        with pytest.raises(InvalidRequest) as refused:
            TokenIssuer(records).issue(**{"workspace": "acme", "role": Role.VIEWER, **changes})  # type: ignore[arg-type]
        assert list(refused.value.errors) == [named]
        assert records.kept == {}

    def test_scopes_are_kept_in_one_form(self, records: Records) -> None:
        scopes = Scopes(("b", "a", "b"), (), ("10.1.2.3/8", "2001:DB8::/32"))
        issued = TokenIssuer(records).issue(workspace="acme", role=Role.VIEWER, scopes=scopes)
        assert issued.record.scopes == Scopes(("a", "b"), (), ("10.0.0.0/8", "2001:db8::/32"))


class TestRotating:
    def test_the_old_secret_is_good_for_the_overlap(
        self, authenticator: Authenticator, records: Records, clock: Clock, issue: Callable[..., str]
    ) -> None:
        old = issue()
        new = TokenIssuer(records).rotate(old[4:20], overlap=10).text
        assert new != old
        assert new[:20] == old[:20]
        for text in (old, new):
            assert authenticator.authenticate(text).token_id == old[4:20]
        clock.now += 10
        records.ms += 10_000
        with pytest.raises(Unauthenticated, match="rotated"):
            authenticator.authenticate(old)
        authenticator.authenticate(new)

    def test_a_secret_that_was_rotated_twice_is_nobodys(
        self, authenticator: Authenticator, records: Records, issue: Callable[..., str]
    ) -> None:
        oldest = issue()
        issuer = TokenIssuer(records)
        old, new = (issuer.rotate(oldest[4:20]).text for _ in range(2))
        with pytest.raises(UnknownToken):
            authenticator.authenticate(oldest)
        for text in (old, new):
            authenticator.authenticate(text)

    @pytest.mark.parametrize("overlap", [-1, float("nan"), float("inf"), 1e9])
    def test_an_overlap_has_bounds(self, records: Records, issue: Callable[..., str], overlap: float) -> None:
        with pytest.raises(InvalidRequest):
            TokenIssuer(records).rotate(issue()[4:20], overlap=overlap)


class TestUses:
    def test_a_use_is_told_once_a_minute(
        self, authenticator: Authenticator, records: Records, clock: Clock, issue: Callable[..., str]
    ) -> None:
        text = issue()
        authenticator.authenticate(text)
        authenticator.authenticate(text)
        assert authenticator.take_uses() == {text[4:20]: records.ms}
        assert authenticator.take_uses() == {}
        records.kept[text[4:20]] = replace(records.kept[text[4:20]], last_used_at=records.ms)
        clock.now += FRESH
        records.ms += USE_NOTED_EVERY_MS - 1
        authenticator.authenticate(text)
        assert authenticator.take_uses() == {}
        clock.now += FRESH
        records.ms += 1
        authenticator.authenticate(text)
        assert authenticator.take_uses() == {text[4:20]: records.ms}

    def test_a_guess_is_no_use(self, authenticator: Authenticator, issue: Callable[..., str]) -> None:
        text = issue()
        with pytest.raises(UnknownToken):
            authenticator.authenticate(text[:-1] + ("a" if text[-1] != "a" else "b"))
        assert authenticator.take_uses() == {}


class TestAuthenticating:
    def test_a_token_is_its_holders(self, authenticator: Authenticator, issue: Callable[..., str]) -> None:
        record = authenticator.authenticate(issue(Role.OPERATOR, "beta"))
        assert (record.workspace, record.role) == ("beta", Role.OPERATOR)

    @pytest.mark.parametrize(
        "text", ["", "acp_", "acp_x_y", "acp_0123456789abcdef_short", "acp_0123456789ABCDEF_" + "x" * 43, "x" * 10_000]
    )
    def test_other_texts_are_nobodys(self, authenticator: Authenticator, records: Records, text: str) -> None:
        with pytest.raises(Unauthenticated):
            authenticator.authenticate(text)
        assert records.reads == 0

    def test_an_unknown_id_and_a_wrong_secret_are_told_alike(
        self, authenticator: Authenticator, issue: Callable[..., str]
    ) -> None:
        good = issue()
        told = set()
        for bad in (good[:-1] + ("a" if good[-1] != "a" else "b"), "acp_" + "0" * 16 + good[20:]):
            with pytest.raises(Unauthenticated) as refused:
                authenticator.authenticate(bad)
            told.add(str(refused.value))
        assert len(told) == 1

    def test_a_revoked_token_stops_within_the_bound(
        self, authenticator: Authenticator, records: Records, clock: Clock, issue: Callable[..., str]
    ) -> None:
        text = issue()
        authenticator.authenticate(text)
        records.revoke(next(iter(records.kept)))
        clock.now += FRESH - 0.01
        authenticator.authenticate(text)
        assert records.reads == 1
        clock.now += 0.01
        with pytest.raises(Unauthenticated, match="revoked"):
            authenticator.authenticate(text)
        assert FRESH < 2

    def test_a_remembered_token_expires_on_time(
        self, authenticator: Authenticator, records: Records, clock: Clock, issue: Callable[..., str]
    ) -> None:
        text = issue(expires_in=1)
        authenticator.authenticate(text)
        clock.now += 0.999
        authenticator.authenticate(text)
        clock.now += 0.001
        with pytest.raises(Unauthenticated, match="expired"):
            authenticator.authenticate(text)
        assert records.reads == 1

    def test_the_stores_clock_decides_and_not_ours(
        self, authenticator: Authenticator, records: Records, issue: Callable[..., str]
    ) -> None:
        text = issue(expires_in=1)
        records.ms += 1000
        with pytest.raises(Unauthenticated, match="expired"):
            authenticator.authenticate(text)

    def test_a_new_token_works_although_its_id_was_tried_before(self, records: Records, clock: Clock) -> None:
        authenticator = Authenticator(records, clock=clock)
        text = "acp_" + "0" * 16 + "_" + "s" * 43
        with pytest.raises(Unauthenticated):
            authenticator.authenticate(text)
        TokenIssuer(records, new_id=lambda: "0" * 16, new_secret=lambda: "s" * 43).issue(
            workspace="acme", role=Role.VIEWER
        )
        assert authenticator.authenticate(text).workspace == "acme"

    def test_it_remembers_a_bounded_number(self, records: Records, clock: Clock, issue: Callable[..., str]) -> None:
        authenticator = Authenticator(records, clock=clock, kept=2)
        first, second, third = issue(), issue(), issue()
        for text in (first, second, first, third):
            authenticator.authenticate(text)
        assert records.reads == 3
        authenticator.authenticate(first)  # used more lately than the second, so it stayed
        assert records.reads == 3
        authenticator.authenticate(second)
        assert records.reads == 4

    def test_what_was_pushed_holds_at_once(
        self, authenticator: Authenticator, records: Records, issue: Callable[..., str]
    ) -> None:
        text = issue()
        authenticator.authenticate(text)
        records.revoke(text[4:20])
        authenticator.forget(text[4:20])
        with pytest.raises(Unauthenticated, match="revoked"):
            authenticator.authenticate(text)

    def test_what_was_read_before_the_push_is_not_kept(
        self, records: Records, clock: Clock, issue: Callable[..., str]
    ) -> None:
        text = issue()

        class Overtaken(Records):
            """The change, and the word of it, come between the store's answer and its keeping."""

            def get(self, token_id: str) -> tuple[TokenRecord | None, int]:
                found = super().get(token_id)
                if self.reads == 1:
                    self.revoke(token_id)
                    authenticator.forget(token_id)
                return found

        overtaken = Overtaken(kept=records.kept)
        authenticator = Authenticator(overtaken, clock=clock)
        authenticator.authenticate(text)
        with pytest.raises(Unauthenticated, match="revoked"):
            authenticator.authenticate(text)

    def test_many_threads(self, authenticator: Authenticator, issue: Callable[..., str]) -> None:
        texts = [issue() for _ in range(8)]
        wrong: list[BaseException] = []

        def work() -> None:
            try:
                for _ in range(200):
                    for text in texts:
                        assert authenticator.authenticate(text).token_id == text[4:20]
            except BaseException as error:
                wrong.append(error)

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []

    def test_a_process_that_asks_once(self, records: Records, issue: Callable[..., str]) -> None:
        caller = check_token(records, issue(Role.AGENT, None))
        assert (caller.workspace, caller.role, caller.actor) == (None, Role.AGENT, f"token:{caller.token_id}")
