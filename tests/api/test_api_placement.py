"""Which agents get a task: `placement` of a submit and of its workspace, and whose agents never get it."""

from __future__ import annotations

import pytest

from aragora_cp.lanes import lane_name
from aragora_cp.model import AgentSpec, Claim, Hold, Role
from aragora_cp.wiring import ControlPlane

from .conftest import SUBMIT, Caller, MakeCaller, RecordingBroker

SHARED = AgentSpec("shared-1", ("code",))
OWN = AgentSpec("own-1", ("code",), workspace="acme")
OTHERS = AgentSpec("others-1", ("code",), workspace="beta")


@pytest.fixture(autouse=True)
def _agents(plane: ControlPlane, caller: MakeCaller) -> None:
    """Three pools that could all run the same task; each workspace's own through the API."""
    plane.registry.register(SHARED, owner="celery", takeover=False)
    caller(Role.AGENT, "acme").register(OWN.agent_id)
    caller(Role.AGENT, "beta").register(OTHERS.agent_id)


def lanes_of(broker: RecordingBroker, task_id: str) -> set[str]:
    return {ticket.lane for ticket in broker.sent if ticket.task_id == task_id}


def taker(plane: ControlPlane, task_id: str, agent: AgentSpec) -> str:
    """What a claim by `agent` comes to, whatever ticket it got hold of."""
    claimed = plane.scheduler.claim(Hold("acme", task_id, 1, f"lease-{agent.agent_id}"), agent)
    return "claimed" if isinstance(claimed, Claim) else claimed


@pytest.mark.parametrize(
    ("of_workspace", "of_task", "pools"),
    [
        ("auto", "private", {"acme"}),
        ("auto", "shared", {"shared"}),
        ("private", None, {"acme"}),
        ("shared", None, {"shared"}),
        ("private", "shared", {"shared"}),
        ("shared", "private", {"acme"}),
        ("private", "auto", {"acme", "shared"}),
        ("auto", None, {"acme", "shared"}),
    ],
)
def test_a_task_goes_where_it_says_or_else_its_workspace(
    submitter: Caller, plane: ControlPlane, broker: RecordingBroker, of_workspace: str, of_task: str | None,
    pools: set[str],
) -> None:  # fmt: skip
    plane.workspaces.change("acme", {"placement": of_workspace})
    said = {"placement": of_task} if of_task else {}
    tasks = [submitter.submit(**said)["task_id"] for _ in range(6)]
    seen = set().union(*(lanes_of(broker, task) for task in tasks))
    assert seen == {lane_name(pool, ["code"]) for pool in pools}


@pytest.mark.parametrize(
    ("placement", "answers"),
    [
        ("private", {"shared-1": "incapable", "own-1": "claimed"}),
        ("shared", {"own-1": "incapable", "shared-1": "claimed"}),
    ],
)
def test_an_agent_elsewhere_cannot_claim_it(
    submitter: Caller, plane: ControlPlane, placement: str, answers: dict[str, str]
) -> None:
    task = submitter.submit(placement=placement)["task_id"]
    agents = {agent.agent_id: agent for agent in (SHARED, OWN)}
    assert {name: taker(plane, task, agents[name]) for name in answers} == answers


@pytest.mark.parametrize("placement", ["auto", "private", "shared"])
def test_a_private_agent_never_gets_another_workspaces_task(
    submitter: Caller, caller: MakeCaller, plane: ControlPlane, broker: RecordingBroker, placement: str
) -> None:
    """Not its ticket, and not by a claim with a ticket that it should not have; over HTTP it does not know it."""
    tasks = [submitter.submit(placement=placement)["task_id"] for _ in range(8)]
    assert not any(ticket.lane.startswith("beta.") for ticket in broker.sent)
    assert {taker(plane, task, OTHERS) for task in tasks} == {"incapable"}
    beta = caller(Role.AGENT, "beta")
    session = beta.register("others-2")["session"]
    report = {"session": session, "attempt": 1, "lease": "lease-others-1", "result": 1}
    assert {beta.post(f"/tasks/{task}/complete", report).status_code for task in tasks} == {404}
    assert {submitter.get(f"/tasks/{task}").json["status"] for task in tasks} == {"PENDING"}


def test_it_waits_when_nobody_is_there(plane: ControlPlane, submitter: Caller, broker: RecordingBroker) -> None:
    """A private task of a workspace without agents goes to nobody else's."""
    plane.registry.remove(OWN.agent_id, "acme")
    task = submitter.submit(placement="private")
    assert (task["status"], lanes_of(broker, task["task_id"])) == ("PENDING", set())


@pytest.mark.parametrize(("agent", "placement"), [("own-1", "shared"), ("shared-1", "private")])
def test_an_agent_that_is_elsewhere_is_refused(
    submitter: Caller, broker: RecordingBroker, agent: str, placement: str
) -> None:
    answer = submitter.post("/tasks/submit", {**SUBMIT, "agent_id": agent, "placement": placement})
    assert (answer.status_code, list(answer.json["errors"])) == (422, ["placement"])
    assert broker.sent == []
    assert submitter.submit(agent_id=agent)["status"] == "PENDING"


def test_the_same_key_with_another_placement_is_another_task(submitter: Caller) -> None:
    submitter.submit(placement="private", idempotency_key="k")
    answer = submitter.post("/tasks/submit", {**SUBMIT, "placement": "shared", "idempotency_key": "k"})
    assert (answer.status_code, answer.json["code"]) == (409, "idempotency-conflict")
