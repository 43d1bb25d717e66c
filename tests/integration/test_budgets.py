"""Budgets in a real store: spent and reserved never pass a hard limit, and all that was reserved comes back."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from typing import Any

import pytest

from aragora_cp.budgets import Budget, BudgetStanding
from aragora_cp.errors import BudgetExceeded, InvalidRequest, RateLimited, TaskCancelled
from aragora_cp.model import Claim, ErrorCode, Failure, NewTask, Submission, TaskStatus, Usage
from aragora_cp.prices import Price
from aragora_cp.store.inspection import Inspector
from tests.crowds import at_once
from tests.fleet import HANDLER_ERROR, PROCESS_LOST, Fleet
from tests.servers import EVERY_SERVER

pytestmark = pytest.mark.parametrize("server", EVERY_SERVER, indirect=True)

UNIT = 1_000_000
RETRY_AT_ONCE: dict[str, Any] = {"max_retries": 3}


def put(fleet: Fleet, name: str = "all", limit: int = 10 * UNIT, period: str = "day", **more: Any) -> None:
    word, _ = fleet.plane.budgets.put(fleet.workspace, Budget(name, limit, period, **more), by_platform=False)
    assert word in ("made", "put")


def standing(fleet: Fleet, name: str = "all") -> BudgetStanding:
    return fleet.plane.budgets.read(fleet.workspace, name)[0]


def counted(fleet: Fleet, name: str = "all") -> tuple[int, int, int]:
    found = standing(fleet, name)
    return found.spent, found.reserved, found.overrun


def admit(fleet: Fleet, estimate: int | None = None, **more: Any) -> Submission:
    return fleet.scheduler.admit(fleet.new(estimate_micros=estimate, **more))


def spend(fleet: Fleet, claim: Claim, cost: str, **more: Any) -> None:
    fleet.scheduler.progress(claim.hold, cost=cost, **more)


def sound(fleet: Fleet) -> None:
    found = list(Inspector(fleet.client, fleet.config).inspect(fleet.workspace))
    assert found == []


def signals(fleet: Fleet, kind: str) -> list[bytes]:
    events: Any = fleet.client.xrange(fleet.keys("events"))
    return [told[b"told"] for _, told in events if told[b"event"] == kind.encode()]


class TestReserving:
    def test_of_many_at_once_as_many_as_there_is_room_for(self, fleet: Fleet) -> None:
        put(fleet)
        answers = at_once([lambda: admit(fleet, 300_000) for _ in range(60)])
        assert Counter(type(answer) for answer in answers) == {Submission: 33, BudgetExceeded: 27}
        assert counted(fleet) == (0, 9_900_000, 0)
        assert fleet.client.zcard(fleet.keys("tasks")) == 33
        sound(fleet)

    def test_the_refusal_says_which_how_much_and_until_when(self, fleet: Fleet) -> None:
        put(fleet, limit=UNIT)
        admit(fleet, 700_000)
        with pytest.raises(BudgetExceeded) as refused:
            admit(fleet, 400_000)
        error = refused.value
        told = (error.budget, error.limit, error.spent, error.reserved, error.asked)
        assert told == ("all", UNIT, 0, 700_000, 400_000)
        assert error.resets_at == standing(fleet).resets_at
        assert error.resets_at % 86_400_000 == 0
        assert error.retry_after is not None
        assert 0 < error.retry_after <= 86_400

    def test_the_whole_chain_or_nothing(self, fleet: Fleet) -> None:
        put(fleet)
        put(fleet, "small", UNIT, scope="task_type", value="dear")
        admit(fleet, 600_000, task_type="dear")
        with pytest.raises(BudgetExceeded, match="budget small"):
            admit(fleet, 600_000, task_type="dear")
        assert counted(fleet) == (0, 600_000, 0)
        assert counted(fleet, "small") == (0, 600_000, 0)
        admit(fleet, 600_000, task_type="cheap")
        assert counted(fleet) == (0, 1_200_000, 0)
        assert counted(fleet, "small") == (0, 600_000, 0)

    def test_what_a_budget_refuses_takes_nothing_of_a_rate_limit(self, fleet: Fleet) -> None:
        fleet.plane.workspaces.create("acme", {"rate_limits": {"submit": {"limit": 2, "period": 86400}}})
        put(fleet, limit=UNIT)
        for _ in range(3):
            with pytest.raises(BudgetExceeded) as refused:
                admit(fleet, 2 * UNIT)
            assert refused.value.rate_limits[0].left == 2
        for _ in range(2):
            admit(fleet, 1)
        with pytest.raises(RateLimited):
            admit(fleet, 1)
        assert counted(fleet) == (0, 2, 0)

    def test_a_repeated_submit_reserves_once_and_is_never_refused(self, fleet: Fleet) -> None:
        put(fleet, limit=UNIT)
        for _ in range(3):
            admit(fleet, UNIT, idempotency_key="k")
        assert counted(fleet) == (0, UNIT, 0)

    def test_a_tokens_budget_also_pays_for_its_sub_tasks(self, fleet: Fleet) -> None:
        put(fleet, "ci", UNIT, scope="token_id", value="abc")
        parent = admit(fleet, 100_000, actor="token:abc").task.task_id
        admit(fleet, 100_000, actor=f"task:{parent}", parent_id=parent)
        admit(fleet, 100_000, actor="token:other")
        assert counted(fleet, "ci") == (0, 200_000, 0)

    def test_without_an_estimate_the_default_and_then_what_was_learned(self, fleet: Fleet) -> None:
        put(fleet, default_estimate=50_000)
        spec = fleet.agent()
        claim = fleet.running(spec)
        assert counted(fleet) == (0, 50_000, 0)
        spend(fleet, claim, "0.20")
        fleet.finish(claim, spec)
        assert counted(fleet) == (200_000, 0, 0)
        admit(fleet)
        assert counted(fleet) == (200_000, 200_000, 0)

    def test_one_dear_task_does_not_close_a_budget(self, fleet: Fleet) -> None:
        put(fleet, "soft", UNIT, hard=False)
        spec = fleet.agent()
        claim = fleet.running(spec)
        spend(fleet, claim, "5.00")
        fleet.finish(claim, spec)
        put(fleet)
        admit(fleet)
        assert counted(fleet) == (0, UNIT, 0), "a tenth of it, not 5.00"

    def test_another_workspaces_tasks_do_not_count(self, fleet: Fleet) -> None:
        put(fleet)
        fleet.scheduler.submit(NewTask("beta", "t", b"{}", estimate_micros=UNIT))
        assert counted(fleet) == (0, 0, 0)


class TestSettling:
    @pytest.mark.parametrize("end", ["finish", "fail", "cancel", "expire"])
    def test_every_ending_returns_what_is_left(self, fleet: Fleet, end: str) -> None:
        put(fleet)
        spec = fleet.agent()
        if end == "expire":
            task = admit(fleet, UNIT, queue_timeout=60.0).task
            fleet.client.zadd(fleet.keys("deadlines"), {task.task_id: 1})
            fleet.sweep()
            assert fleet.get(task.task_id).status is TaskStatus.FAILED
            assert counted(fleet) == (0, 0, 0)
            return
        claim = fleet.running(spec, estimate_micros=UNIT)
        spend(fleet, claim, "0.40")
        assert counted(fleet) == (400_000, 600_000, 0)
        if end == "finish":
            usage = Usage.of(cost="0.10")
            fleet.scheduler.finish(claim.hold, b"1", spec, usage=usage)
            fleet.scheduler.finish(claim.hold, b"1", spec, usage=usage)
            assert counted(fleet) == (500_000, 0, 0)
        elif end == "fail":
            fleet.scheduler.fail(claim.hold, Failure(ErrorCode.HANDLER_ERROR, "no", retryable=False), spec.agent_id)
            assert counted(fleet) == (400_000, 0, 0)
        else:
            fleet.scheduler.cancel("acme", claim.hold.task_id)
            assert counted(fleet) == (400_000, 0, 0)
        sound(fleet)

    @pytest.mark.parametrize("failure", [HANDLER_ERROR, PROCESS_LOST])
    def test_retries_keep_one_reservation_of_what_is_left(self, fleet: Fleet, failure: Failure) -> None:
        put(fleet)
        spec = fleet.agent()
        claim = fleet.running(spec, estimate_micros=UNIT)
        spend(fleet, claim, "0.40")
        fleet.scheduler.fail(claim.hold, failure, spec.agent_id)
        assert counted(fleet) == (400_000, 600_000, 0)
        fleet.client.zadd(fleet.keys("delayed"), {claim.hold.task_id: 1}, xx=True)
        fleet.sweep()
        again = fleet.claim(spec, fleet.broker.take_for(claim.hold.task_id))
        spend(fleet, again, "0.70")
        assert counted(fleet) == (1_100_000, 0, 0)
        fleet.finish(again, spec)
        assert counted(fleet) == (1_100_000, 0, 0)

    def test_run_again_it_reserves_again_or_is_refused(self, fleet: Fleet) -> None:
        put(fleet, limit=UNIT)
        task = admit(fleet, 600_000).task
        fleet.scheduler.cancel("acme", task.task_id)
        fleet.scheduler.rerun("acme", task.task_id)
        assert counted(fleet) == (0, 600_000, 0)
        fleet.scheduler.cancel("acme", task.task_id)
        admit(fleet, 600_000)
        with pytest.raises(BudgetExceeded):
            fleet.scheduler.rerun("acme", task.task_id)
        assert fleet.get(task.task_id).status is TaskStatus.CANCELLED
        sound(fleet)

    def test_it_settles_in_the_window_where_it_reserved(self, fleet: Fleet) -> None:
        put(fleet)
        spec = fleet.agent()
        claim = fleet.running(spec, estimate_micros=UNIT)
        # As if it had been reserved yesterday: only tests may turn the clock.
        held = fleet.client.hget(fleet.keys("reservations"), claim.hold.task_id)
        assert held is not None
        name, gen, window, amount = held.decode().split("|")
        earlier = f"day{int(window.removeprefix('day')) - 1}"
        fleet.client.rename(fleet.keys("spend", name, gen, window), fleet.keys("spend", name, gen, earlier))
        fleet.client.hset(fleet.keys("reservations"), claim.hold.task_id, f"{name}|{gen}|{earlier}|{amount}")
        spend(fleet, claim, "0.30")
        fleet.finish(claim, spec)
        then = fleet.client.hgetall(fleet.keys("spend", name, gen, earlier))
        assert (then[b"spent"], then[b"reserved"]) == (b"300000", b"0")
        assert counted(fleet) == (0, 0, 0)

    def test_counters_outlive_what_is_reserved_and_then_end(self, fleet: Fleet) -> None:
        put(fleet)
        task = admit(fleet, UNIT).task
        (key,) = fleet.client.keys(fleet.keys("spend", "all", "*", "*").replace("{acme}", "?acme?"))
        assert fleet.client.pttl(key) == -1
        fleet.scheduler.cancel("acme", task.task_id)
        assert fleet.client.pttl(key) > 0

    @pytest.mark.parametrize("mend", ["sweep", "doctor"])
    def test_what_a_vanished_task_reserved_comes_back(
        self, fleet: Fleet, monkeypatch: pytest.MonkeyPatch, mend: str
    ) -> None:
        put(fleet)
        task = admit(fleet, UNIT).task
        fleet.client.delete(fleet.keys("task", task.task_id))
        fleet.client.zrem(fleet.keys("tasks"), task.task_id)
        inspector = Inspector(fleet.client, fleet.config)
        assert "stray-reservation" in {each.kind for each in inspector.inspect("acme")}
        if mend == "sweep":
            monkeypatch.setattr("aragora_cp.store.sweeps.RESERVED_MS", 0)
            assert fleet.sweep().repairs["stray-reservation"] == 1
        else:
            list(inspector.inspect("acme", fix=True))
        assert counted(fleet) == (0, 0, 0)

    def test_a_wrong_counter_is_found_and_mended(self, fleet: Fleet) -> None:
        put(fleet)
        admit(fleet, UNIT)
        (key,) = fleet.client.keys(fleet.keys("spend", "all", "*", "*").replace("{acme}", "?acme?"))
        fleet.client.hincrby(key, "reserved", 77)
        inspector = Inspector(fleet.client, fleet.config)
        assert [(each.kind, each.about) for each in inspector.inspect("acme")] == [("budget-counter", "all")]
        list(inspector.inspect("acme", fix=True))
        assert counted(fleet) == (0, UNIT, 0)
        sound(fleet)


class TestMetering:
    def test_beyond_its_reservation_a_task_uses_what_is_free(self, fleet: Fleet) -> None:
        put(fleet, limit=UNIT)
        claim = fleet.running(fleet.agent(), estimate_micros=100_000)
        admit(fleet, 500_000)
        spend(fleet, claim, "0.50")
        assert counted(fleet) == (500_000, 500_000, 0)

    def test_beyond_the_limit_it_is_stopped_and_the_rest_is_an_overrun(self, fleet: Fleet) -> None:
        put(fleet, limit=UNIT)
        spec = fleet.agent()
        claim = fleet.running(spec, estimate_micros=100_000)
        admit(fleet, 500_000)
        with pytest.raises(TaskCancelled, match="the budget all"):
            spend(fleet, claim, "0.60", percent=40.0)
        assert counted(fleet) == (500_000, 500_000, 100_000)
        task = fleet.get(claim.hold.task_id)
        assert (task.status, task.cost) == (TaskStatus.FAILED, "0.6")
        assert task.error is not None
        assert (task.error["code"], task.error["retryable"]) == ("budget-exceeded", False)
        assert fleet.broker.cancelled == [("a1", claim.hold.task_id, 1)]
        with pytest.raises(TaskCancelled):
            spend(fleet, claim, "0.10")
        beat = fleet.registry.heartbeat(spec.handle, fleet.session(spec), [claim.hold])
        assert beat.cancel == (claim.hold,)
        assert counted(fleet) == (500_000, 500_000, 100_000)
        sound(fleet)

    def test_a_result_is_taken_all_the_same(self, fleet: Fleet) -> None:
        put(fleet, limit=UNIT)
        spec = fleet.agent()
        claim = fleet.running(spec)
        task = fleet.scheduler.finish(claim.hold, b"1", spec, usage=Usage.of(cost="1.25"))
        assert task.status is TaskStatus.COMPLETED
        assert counted(fleet) == (UNIT, 0, 250_000)

    def test_a_models_budget_stops_what_uses_that_model(self, fleet: Fleet) -> None:
        put(fleet, "dear", UNIT, scope="model", value="large")
        spec = fleet.agent(concurrency=2)
        large, small = fleet.running(spec), fleet.running(spec)
        spend(fleet, small, "5.00", model="small")
        with pytest.raises(TaskCancelled):
            spend(fleet, large, "1.50", model="large")
        assert counted(fleet, "dear") == (UNIT, 0, 500_000)

    def test_a_soft_budget_only_tells(self, fleet: Fleet) -> None:
        put(fleet, limit=UNIT, hard=False)
        spec = fleet.agent()
        claim = fleet.running(spec)
        for _ in range(10):
            spend(fleet, claim, "0.15")
        assert counted(fleet) == (1_500_000, 0, 0)
        assert signals(fleet, "budget-alert") == [b'{"percent":50}', b'{"percent":80}', b'{"percent":100}']

    def test_of_many_reports_at_once_none_passes_the_limit(self, fleet: Fleet) -> None:
        put(fleet, limit=UNIT)
        spec = fleet.agent(concurrency=12)
        claims = [fleet.running(spec, estimate_micros=10_000) for _ in range(12)]
        at_once([lambda claim=claim: spend(fleet, claim, "0.15") for claim in claims])
        spent, reserved, overrun = counted(fleet)
        assert spent + reserved <= UNIT
        costs = [Decimal(task.cost or 0) for task in (fleet.get(claim.hold.task_id) for claim in claims)]
        assert spent + overrun == sum(costs) * UNIT
        sound(fleet)


class TestRolling:
    def test_it_counts_as_a_day_does_and_forgets(self, fleet: Fleet) -> None:
        put(fleet, limit=UNIT, period="rolling:60")
        spec = fleet.agent()
        claim = fleet.running(spec, estimate_micros=600_000)
        spend(fleet, claim, "0.60")
        fleet.finish(claim, spec)
        assert counted(fleet) == (600_000, 0, 0)
        with pytest.raises(BudgetExceeded) as refused:
            admit(fleet, 500_000)
        assert 55 < (refused.value.retry_after or 0) <= 62
        (key,) = fleet.client.keys(fleet.keys("spend", "all", "*", "*").replace("{acme}", "?acme?"))
        (field,) = (name for name in fleet.client.hkeys(key) if name.startswith(b"s"))
        # A minute later: only tests may turn the clock.
        fleet.client.hset(key, f"s{int(field[1:]) - 62}", fleet.client.hget(key, field))
        fleet.client.hdel(key, field)
        assert counted(fleet) == (0, 0, 0)
        admit(fleet, 500_000)
        assert fleet.client.hkeys(key) == [b"reserved", b"told"] or b"s" not in {
            name[:1] for name in fleet.client.hkeys(key)
        }


class TestSetting:
    def test_a_new_limit_keeps_what_was_counted_and_a_new_window_does_not(self, fleet: Fleet) -> None:
        put(fleet)
        task = admit(fleet, UNIT).task
        put(fleet, limit=20 * UNIT)
        assert counted(fleet) == (0, UNIT, 0)
        put(fleet, period="month")
        assert counted(fleet) == (0, 0, 0)
        fleet.scheduler.cancel("acme", task.task_id)
        assert counted(fleet) == (0, 0, 0)
        sound(fleet)

    def test_deleted_and_made_anew_nothing_of_the_old_one_counts(self, fleet: Fleet) -> None:
        put(fleet)
        task = admit(fleet, UNIT).task
        assert fleet.plane.budgets.delete("acme", "all", by_platform=False) == "deleted"
        put(fleet)
        fleet.scheduler.cancel("acme", task.task_id)
        assert counted(fleet) == (0, 0, 0)
        sound(fleet)

    def test_the_platforms_budget_is_not_the_workspaces_to_change(self, fleet: Fleet) -> None:
        store, budget = fleet.plane.budgets, Budget("all", UNIT, "day", owner="platform")
        assert store.put("acme", budget, by_platform=True)[0] == "made"
        assert store.put("acme", Budget("all", 9 * UNIT, "day"), by_platform=False)[0] == "platforms"
        assert store.delete("acme", "all", by_platform=False) == "platforms"
        assert standing(fleet).budget == budget
        assert store.delete("acme", "all", by_platform=True) == "deleted"

    def test_there_is_a_bound_on_their_number(self, fleet: Fleet) -> None:
        for n in range(32):
            put(fleet, f"b{n}")
        assert fleet.plane.budgets.put("acme", Budget("one-more", 1, "day"), by_platform=False)[0] == "too-many"

    def test_the_largest_amounts_are_exact(self, fleet: Fleet) -> None:
        put(fleet, limit=10**15)
        admit(fleet, 10**15 - 1)
        admit(fleet, 1)
        assert counted(fleet) == (0, 10**15, 0)
        with pytest.raises(BudgetExceeded):
            admit(fleet, 1)


class TestPrices:
    def test_tokens_cost_what_the_workspaces_or_else_the_platforms_table_says(self, fleet: Fleet) -> None:
        fleet.plane.workspaces.create("acme", {})
        prices = fleet.plane.prices
        prices.put(None, {"large": Price(2_500_000, 10_000_000, 1_250_000), "small": Price(100_000, 400_000)})
        prices.put("acme", {"small": Price(200_000, 400_000)})
        spec = fleet.agent()
        claim = fleet.running(spec)
        tokens = {"input_tokens": 1000, "output_tokens": 100}
        fleet.scheduler.progress(claim.hold, model="large", cached_tokens=400, **tokens)
        # 600 × 2.50 + 400 × 1.25 + 100 × 10.00, of a million each
        assert fleet.get(claim.hold.task_id).cost == "0.003"
        fleet.scheduler.progress(claim.hold, model="small", **tokens)
        task = fleet.get(claim.hold.task_id)
        assert task.cost == "0.00324"
        assert task.usage is not None
        assert (task.usage["price"], task.usage["cached_tokens"]) == ("workspace:1", 400)
        fleet.scheduler.progress(claim.hold, model="large", cost="1", **tokens)
        assert fleet.get(claim.hold.task_id).cost == "1.00324"

    @pytest.mark.parametrize(("setting", "cost"), [(None, None), ("5.00", "0.0055"), ("refuse", "refused")])
    def test_a_model_without_a_price(self, fleet: Fleet, setting: str | None, cost: str | None) -> None:
        fleet.plane.workspaces.create("acme", {"unknown_price": setting})
        claim = fleet.running(fleet.agent())
        if cost == "refused":
            with pytest.raises(InvalidRequest, match="has no price"):
                fleet.scheduler.progress(claim.hold, model="new", input_tokens=1000, output_tokens=100)
            assert fleet.get(claim.hold.task_id).usage is None
            return
        fleet.scheduler.progress(claim.hold, model="new", input_tokens=1000, output_tokens=100)
        assert fleet.get(claim.hold.task_id).cost == cost

    def test_a_version_never_changes(self, fleet: Fleet) -> None:
        prices = fleet.plane.prices
        first = prices.put("acme", {"a": Price(1, 1)})
        second = prices.put("acme", {"b": Price(2, 2)})
        assert (first.version, second.version) == (1, 2)
        assert prices.version("acme", 1) == first
        assert prices.tables("acme")[1] == second
        assert prices.version("acme", 3) is None


def test_usage_is_counted_by_day_type_model_and_token(fleet: Fleet) -> None:
    spec = fleet.agent()
    claim = fleet.running(spec, actor="token:abc")
    fleet.scheduler.progress(claim.hold, model="m|x", input_tokens=5, output_tokens=7, cost="0.25")
    fleet.finish(claim, spec)
    day = fleet.plane.tokens.now() // 86_400_000
    used = {"cost": 250_000, "input_tokens": 5, "output_tokens": 7}
    assert fleet.plane.budgets.usage("acme", [day - 1, day]) == {
        day - 1: {},
        day: {
            "day": {"all": used | {"tasks": 1}},
            "task_type": {"t": used | {"tasks": 1}},
            "token": {"abc": used | {"tasks": 1}},
            "model": {"m|x": used | {"tasks": 1}},
        },
    }


def test_usage_has_a_bounded_number_of_names(fleet: Fleet) -> None:
    spec = fleet.agent()
    claim = fleet.running(spec)
    for n in range(205):
        fleet.scheduler.progress(claim.hold, model=f"m{n}", input_tokens=1)
    day = fleet.plane.tokens.now() // 86_400_000
    models = fleet.plane.budgets.usage("acme", [day])[day]["model"]
    assert len(models) == 201
    assert models["(others)"] == {"input_tokens": 5}
