"""Workspaces and tokens in a real store: races, quotas, suspending, deleting."""

from __future__ import annotations

import pytest

from aragora_cp.errors import Conflict, InvalidRequest, NotFound, QuotaExceeded
from aragora_cp.model import AgentSpec, Claim, Role, TaskStatus
from aragora_cp.store.keys import TRAIL_KEYS, workspace_keys
from aragora_cp.store.purges import WorkspacePurge
from aragora_cp.store.sweeps import Deposed
from aragora_cp.store.workspaces import WorkspaceStore
from aragora_cp.tenancy.tokens import TokenIssuer
from aragora_cp.tenancy.workspaces import BOUNDS, Workspaces
from tests.crowds import at_once
from tests.fleet import Fleet
from tests.servers import EVERY_SERVER
from tests.waiting import eventually

pytestmark = pytest.mark.parametrize("server", EVERY_SERVER, indirect=True)


@pytest.fixture
def workspaces(fleet: Fleet) -> Workspaces:
    fleet.plane.workspaces.create("acme", {})
    return fleet.plane.workspaces


def another(fleet: Fleet) -> Workspaces:
    """As another process sees them."""
    return Workspaces(WorkspaceStore(fleet.client, fleet.config))


class TestCreating:
    def test_of_many_at_once_one_creates(self, fleet: Fleet) -> None:
        works = [lambda n=n: another(fleet).create("new", {"weight": n}) for n in range(1, 13)]
        answers = at_once(works)
        made = [answer for answer in answers if not isinstance(answer, Exception)]
        assert len(made) == 1
        assert {type(answer) for answer in answers} - {type(made[0])} == {Conflict}
        assert fleet.plane.workspaces.get("new") == made[0]

    def test_sent_twice_it_is_answered_alike(self, fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
        """The driver sends a command again when the connection broke before the answer."""
        store = WorkspaceStore(fleet.client, fleet.config)
        real = store._run
        monkeypatch.setattr(store, "_run", lambda *args: (real(*args), real(*args))[1])
        assert store.create("new", {"weight": 2})[0] == "created"

    def test_every_setting_comes_back(self, fleet: Fleet) -> None:
        settings = {name: least + 1 for name, (least, _) in BOUNDS.items()} | {
            "name": "The new one",
            "retention": 60.5,
            "placement": "private",
            "encryption": True,
        }
        made = fleet.plane.workspaces.create("new", settings)
        assert {name: getattr(made, name) for name in settings} == settings
        assert made == another(fleet).get("new")
        assert (made.status, made.created_at > 0) == ("active", True)

    @pytest.mark.parametrize(
        ("name", "settings", "named"),
        [
            ("Acme", {}, "workspace"),
            ("", {}, "workspace"),
            ("shared", {}, "workspace"),
            ("x" * 64, {}, "workspace"),
            ("new", {"weight": 0}, "weight"),
            ("new", {"weight": None}, "weight"),
            ("new", {"weight": True}, "weight"),
            ("new", {"max_pending": -1}, "max_pending"),
            ("new", {"max_pending": 1.5}, "max_pending"),
            ("new", {"retention": 0}, "retention"),
            ("new", {"retention": float("nan")}, "retention"),
            ("new", {"placement": "any"}, "placement"),
            ("new", {"encryption": "yes"}, "encryption"),
            ("new", {"name": "x" * 129}, "name"),
            ("new", {"colour": "red"}, "colour"),
        ],
    )
    def test_what_cannot_be(self, fleet: Fleet, name: str, settings: dict[str, object], named: str) -> None:
        with pytest.raises(InvalidRequest) as refused:
            fleet.plane.workspaces.create(name, settings)
        assert list(refused.value.errors) == [named]
        with pytest.raises(NotFound):
            fleet.plane.workspaces.get("new")


class TestChanging:
    def test_what_is_not_given_stays(self, workspaces: Workspaces) -> None:
        workspaces.change("acme", {"max_pending": 7, "name": "A"})
        changed = workspaces.change("acme", {"max_pending": None, "weight": 3})
        assert (changed.max_pending, changed.weight, changed.name) == (None, 3, "A")

    def test_many_changes_of_different_settings_all_hold(self, fleet: Fleet, workspaces: Workspaces) -> None:
        limits = [name for name in BOUNDS if name != "weight"]
        answers = at_once([lambda name=name: another(fleet).change("acme", {name: 5}) for name in limits])
        assert not [answer for answer in answers if isinstance(answer, Exception)]
        found = workspaces.get("acme")
        assert {name: getattr(found, name) for name in limits} == dict.fromkeys(limits, 5)

    def test_a_workspace_that_is_not_there(self, workspaces: Workspaces) -> None:
        with pytest.raises(NotFound):
            workspaces.change("nowhere", {"weight": 2})
        assert workspaces.find("nowhere") is None

    def test_the_default_one_is_there(self, workspaces: Workspaces) -> None:
        assert workspaces.change("default", {"weight": 2}).weight == 2
        with pytest.raises(Conflict):
            workspaces.delete("default")

    def test_pages_by_name(self, workspaces: Workspaces) -> None:
        for name in ("b", "a", "c"):
            workspaces.create(name, {})
        names, cursor = [], None
        while True:
            page = workspaces.list(limit=2, cursor=cursor)
            names.append([each.workspace for each in page.items])
            if (cursor := page.next_cursor) is None:
                break
        assert names == [["a", "acme"], ["b", "c"]]

    def test_a_change_holds_elsewhere_within_2_seconds(self, fleet: Fleet, workspaces: Workspaces) -> None:
        elsewhere = another(fleet)
        assert elsewhere.find("acme") == workspaces.get("acme")
        workspaces.change("acme", {"max_payload_bytes": 10})
        eventually(lambda: (elsewhere.find("acme") or workspaces).max_payload_bytes == 10, 2, "the change holds")


class TestQuotas:
    def test_exactly_so_many_tokens(self, fleet: Fleet, workspaces: Workspaces) -> None:
        workspaces.change("acme", {"max_tokens": 5})
        issuer = TokenIssuer(fleet.plane.tokens)
        answers = at_once([lambda: issuer.issue(workspace="acme", role=Role.VIEWER)] * 12)
        refused = [answer for answer in answers if isinstance(answer, Exception)]
        assert len(refused) == 7
        assert {(type(each), str(each)) for each in refused} == {
            (QuotaExceeded, "the quota max_tokens is used up: 5 of 5")
        }
        (first, *_) = fleet.plane.tokens.page("acme", "", 10)
        fleet.plane.tokens.revoke(first.token_id)
        issuer.issue(workspace="acme", role=Role.VIEWER)
        assert len(fleet.plane.tokens.page("acme", "", 10)) == 5

    def test_an_expired_token_counts_no_more(self, fleet: Fleet, workspaces: Workspaces) -> None:
        workspaces.change("acme", {"max_tokens": 1})
        issuer = TokenIssuer(fleet.plane.tokens)
        issuer.issue(workspace="acme", role=Role.VIEWER, expires_in=0.05)

        def issued() -> bool:
            try:
                return bool(issuer.issue(workspace="acme", role=Role.VIEWER))
            except QuotaExceeded:
                return False

        eventually(issued, 5, "there is room again")

    def test_exactly_so_many_agents(self, fleet: Fleet, workspaces: Workspaces) -> None:
        workspaces.change("acme", {"max_agents": 3})
        works = [lambda n=n: fleet.agent(f"a{n}", workspace="acme") for n in range(10)]
        answers = at_once(works)
        good = [answer for answer in answers if isinstance(answer, AgentSpec)]
        assert len(good) == 3
        assert {type(answer) for answer in answers} == {AgentSpec, QuotaExceeded}
        fleet.agent(good[0].agent_id, workspace="acme")  # one that is there may come again
        fleet.agent("everyones")  # and shared agents are nobody's
        fleet.registry.leave(good[0].handle, fleet.session(fleet.agent(good[0].agent_id, workspace="acme")))
        fleet.agent("another", workspace="acme")

    def test_tokens_of_no_workspace_of_ours(self, fleet: Fleet) -> None:
        with pytest.raises(NotFound):
            TokenIssuer(fleet.plane.tokens).issue(workspace="nowhere", role=Role.VIEWER)


class TestSuspending:
    def test_nothing_in_and_nothing_starts_and_what_runs_is_finished(
        self, fleet: Fleet, workspaces: Workspaces
    ) -> None:
        spec = fleet.agent(concurrency=5)
        running = fleet.running(spec)
        waiting = fleet.submit()
        workspaces.change("acme", {"status": "suspended"})
        with pytest.raises(Conflict, match="suspended"):
            fleet.submit()
        ticket = fleet.broker.take_for(waiting.task_id)
        assert ticket
        assert fleet.scheduler.claim(fleet.hold(ticket), spec) == "suspended"
        assert fleet.finish(running, spec).status is TaskStatus.COMPLETED
        assert fleet.sweep().tickets == ()
        workspaces.change("acme", {"status": "active"})
        (ticket,) = fleet.sweep().tickets
        assert isinstance(fleet.scheduler.claim(fleet.hold(ticket), spec), Claim)

    def test_the_monitor_looks_at_it_when_it_goes_on(self, fleet: Fleet, workspaces: Workspaces) -> None:
        fleet.client.zadd(fleet.fleet_keys("active"), {"acme": float("inf")})
        workspaces.change("acme", {"status": "active"})
        assert fleet.client.zscore(fleet.fleet_keys("active"), "acme") == 0


def test_a_result_is_kept_as_long_as_the_workspace_says(fleet: Fleet, workspaces: Workspaces) -> None:
    workspaces.change("acme", {"retention": 1})
    spec = fleet.agent()
    claim = fleet.running(spec)
    fleet.finish(claim, spec)
    other = fleet.scheduler.submit(fleet.new(workspace="other"))[0]
    fleet.scheduler.cancel("other", other.task_id)
    assert fleet.sweep().next_look == fleet.get(claim.task.task_id).finished_at + 1000
    eventually(lambda: not (fleet.sweep(), fleet.record(claim.task.task_id))[1], 5, "it is gone")
    fleet.sweep(workspace="other")
    assert fleet.scheduler.get("other", other.task_id)


class TestDeleting:
    @pytest.fixture(autouse=True)
    def small_steps(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("aragora_cp.store.purges.MOST_REMOVED", 7)
        monkeypatch.setattr("aragora_cp.store.purges.NAMES_LOOKED_AT", 20)
        monkeypatch.setattr("aragora_cp.store.purges.SETTLED_MS", 50)

    def fill(self, fleet: Fleet) -> None:
        """Tasks in every state and place, agents, tokens, keys, events."""
        spec = fleet.agent("p1", workspace="acme", concurrency=50)
        for _ in range(3):
            fleet.finish(fleet.running(spec), spec)
            fleet.running(spec)
        parent = fleet.running(spec)
        child = fleet.submit(parent_id=parent.task.task_id)
        fleet.scheduler.hand_back(parent.hold, awaits=[child.task_id])
        fleet.submit(delay=60)
        fleet.submit("gpu", queue_timeout=60)
        fleet.submit(agent_id="p1")
        fleet.submit(idempotency_key="k", cache_ttl=60)
        for _ in range(20):
            fleet.submit("search")
        fleet.scheduler.cancel("acme", fleet.submit("gpu").task_id)
        fleet.client.hset(fleet.keys("keys"), "current", "wrapped")
        issuer = TokenIssuer(fleet.plane.tokens)
        for n in range(10):
            issuer.issue(workspace="acme", role=Role.VIEWER, expires_in=60 if n % 2 else None)
        fleet.plane.tokens.revoke(fleet.plane.tokens.page("acme", "", 1)[0].token_id)

    def left(self, fleet: Fleet) -> set[str]:
        root = workspace_keys(fleet.config.key_prefix, "acme").root
        return {key.decode().removeprefix(root) for key in fleet.client.scan_iter(f"{root}*", count=1000)}

    def test_nothing_is_left_but_what_is_audited(self, fleet: Fleet, workspaces: Workspaces) -> None:
        self.fill(fleet)
        fleet.agent("everyones")
        other = fleet.scheduler.submit(fleet.new(workspace="acme2"))[0]
        assert workspaces.delete("acme").status == "deleting"
        assert workspaces.delete("acme").status == "deleting"
        monitor = fleet.monitor()
        steps = 0

        def gone() -> bool:
            nonlocal steps
            steps += 1
            monitor.tick()
            return not self.left(fleet) - set(TRAIL_KEYS)

        eventually(gone, 20, "all of it is gone", pause=0.01)
        assert steps > 4
        assert "audit" in self.left(fleet)
        names = b" ".join(fleet.client.scan_iter(f"{fleet.fleet_keys.root}*", count=1000))
        assert b":token:" not in names
        assert b"p1" not in names
        assert [agent.agent_id for agent in fleet.registry.list("acme").items] == ["everyones"]
        for index in ("workspaces", "active"):
            assert fleet.client.zscore(fleet.fleet_keys(index), "acme") is None
        with pytest.raises(NotFound):
            workspaces.get("acme")
        assert fleet.scheduler.get("acme2", other.task_id).status is TaskStatus.PENDING

    def test_keys_go_first_and_running_attempts_are_told(
        self, fleet: Fleet, workspaces: Workspaces, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("aragora_cp.store.purges.SETTLED_MS", 60_000)
        self.fill(fleet)
        running = {task.task_id for task in fleet.scheduler.list("acme", status=TaskStatus.RUNNING).items}
        workspaces.delete("acme")
        with pytest.raises(Conflict, match="deleting"):
            fleet.submit()
        monitor = fleet.monitor()
        monitor.tick()
        assert "keys" not in self.left(fleet)
        assert "tasks" in self.left(fleet)
        eventually(lambda: (monitor.tick(), "tasks" not in self.left(fleet))[1], 10, "no task is left", pause=0.01)
        assert {task_id for _, task_id, _ in fleet.broker.cancelled} == running
        assert workspaces.get("acme").status == "deleting"

    def test_one_of_the_same_name_can_be_made_when_it_is_gone_and_not_before(
        self, fleet: Fleet, workspaces: Workspaces
    ) -> None:
        self.fill(fleet)
        workspaces.delete("acme")
        with pytest.raises(Conflict, match="being deleted"):
            workspaces.create("acme", {})
        with pytest.raises(Conflict):
            workspaces.change("acme", {"status": "active"})
        with pytest.raises(Conflict):
            fleet.agent("p2", workspace="acme")
        with pytest.raises(NotFound):
            TokenIssuer(fleet.plane.tokens).issue(workspace="acme", role=Role.VIEWER)
        monitor = fleet.monitor()

        def created() -> bool:
            monitor.tick()
            try:
                return workspaces.create("acme", {"weight": 9}).weight == 9
            except Conflict:
                return False

        eventually(created, 20, "it can be made anew", pause=0.01)
        for _ in range(5):
            monitor.tick()
        assert workspaces.get("acme").weight == 9
        assert fleet.submit().status is TaskStatus.PENDING

    def test_a_deposed_leader_takes_no_step(self, fleet: Fleet, workspaces: Workspaces) -> None:
        self.fill(fleet)
        workspaces.delete("acme")
        fleet.client.set(fleet.fleet_keys("epoch"), 5)
        assert fleet.sweep(epoch=5).next_look == 0
        before = self.left(fleet)
        with pytest.raises(Deposed):
            fleet.sweep(epoch=4)
        assert WorkspacePurge(fleet.client, fleet.config).step(4, "acme").word == "deposed"
        assert self.left(fleet) == before
