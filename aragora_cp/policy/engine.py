"""PolicyEngine: decides who may do what, by the platform's rules and the workspace's."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import uuid_utils

from aragora_cp.documents import PLATFORM, Document, Policies, PolicyRecords, Scope
from aragora_cp.errors import InvalidRequest, PolicyDenied, PolicyUnavailable
from aragora_cp.model import Decision, Demand, Effect
from aragora_cp.policy.requests import PolicyRequest
from aragora_cp.policy.rules import SILENT, RuleSet, Source, Verdict, compile_rules, strictest

log = logging.getLogger(__name__)

#: Scopes whose parsed rules a process keeps; the one used longest ago goes first.
COMPILED_KEPT = 2000


@dataclass(frozen=True, slots=True)
class Compiled:
    """A scope's rules, and what they would be with each of its shadows in force."""

    policies: Policies
    rules: RuleSet | None
    shadows: Mapping[str, RuleSet]


class _Copy(Protocol):
    @property
    def value(self) -> Compiled: ...


class Copies(Protocol):
    """A local cache of compiled scopes (`tenancy.cache.FreshCache`)."""

    def get(self, name: str, read: Callable[[], Compiled | None]) -> _Copy | None: ...

    def forget(self, name: str | None = None) -> None: ...


class PolicyEngine:
    """Safe to share between threads.

    A scope (the platform, a workspace) that has rules about an action must permit it, and forbids win; one without is
    silent. Both must allow. With no rule anywhere everything is allowed that the caller's role allows. A rule that
    cannot be evaluated denies.
    """

    def __init__(
        self,
        records: PolicyRecords,
        copies: Copies,
        *,
        shadows_on: Callable[[str], bool] = lambda _: True,
        new_id: Callable[[], str] = lambda: str(uuid_utils.uuid7()),
    ) -> None:
        """`shadows_on`: whether a workspace's live traffic is judged by versions in shadow mode too."""
        self._records = records
        self._shadows_on = shadows_on
        self._copies = copies
        self._new_id = new_id
        self._good: OrderedDict[str, Compiled] = OrderedDict()

    def decide(self, request: PolicyRequest) -> Decision:
        """The decision, which nothing keeps yet. No round trip while the copies are fresh (`tenancy.cache.FRESH`), else
        one for each scope. Raises PolicyUnavailable, StoreUnavailable: then nothing is decided."""
        scopes = [(PLATFORM, self.compiled(PLATFORM)), (request.workspace, self.compiled(request.workspace))]
        verdicts = [each.rules.judge(request) if each.rules else SILENT for _, each in scopes]
        effect, rules, reason, demand = outcome(request, verdicts)
        differing = [
            mark
            for n, (_, each) in enumerate(scopes)
            for mark, shadow in each.shadows.items()
            if self._shadows_on(request.workspace)
            and outcome(request, [*verdicts[:n], shadow.judge(request), *verdicts[n + 1 :]])[0] is not effect
        ]
        revisions = [each.policies.revision for _, each in scopes]
        return Decision(
            decision_id=self._new_id(),
            effect=effect,
            rules=rules,
            version=f"p{revisions[0]}.w{revisions[1]}",
            reason=reason,
            request=request.to_json(),
            demand=demand,
            differing=tuple(differing),
        )

    def require(self, request: PolicyRequest, *, actor: str, correlation_id: str = "", target: str = "") -> Decision:
        """The decision, when it is not to deny. Raises PolicyDenied, which is in the trail then, and as `decide`. Of a
        submit the script keeps what was decided; of anything else it is kept when a shadow differs. One round trip for
        what is kept here."""
        decision = self.decide(request)
        denied = decision.effect is Effect.DENY
        if denied or (decision.differing and request.action != "submit"):
            self._records.note(
                request.workspace,
                decision,
                action=f"policy.{request.action}",
                actor=actor,
                target=target,
                corr=correlation_id,
            )
        if denied:
            raise PolicyDenied(
                decision.reason, decision_id=decision.decision_id, rules=decision.rules, version=decision.version
            )
        return decision

    def compiled(self, scope: Scope) -> Compiled:
        """A scope's rules as they are now. Raises PolicyUnavailable, StoreUnavailable."""
        found = self._copies.get(cache_name(scope), lambda: self._load(scope))
        assert found is not None
        return found.value

    def forget(self, name: str | None = None) -> None:
        """The store says that the policies of this scope have changed; without a name, anything may have."""
        self._copies.forget(name)

    def _load(self, scope: Scope) -> Compiled:
        """What cannot be read as rules (it was published by a newer release, or damaged) does not replace what can."""
        policies, name = self._records.read(scope), cache_name(scope)
        last = self._good.get(name)
        if last is not None and last.policies == policies:
            return last
        try:
            compiled = compile_scope(scope, policies)
        except InvalidRequest as error:
            log.error("a policy cannot be read", extra={"scope": name, "reason": str(error)})  # noqa: TRY400
            if last is None:
                raise PolicyUnavailable("a policy cannot be read; an operator has to publish it anew") from error
            return last
        self._good[name] = compiled
        if len(self._good) > COMPILED_KEPT:
            self._good.popitem(last=False)
        return compiled


def cache_name(scope: Scope) -> str:
    """How a scope is called where no workspace can be."""
    return "@" if scope is PLATFORM else scope


def compile_scope(scope: Scope, policies: Policies) -> Compiled:
    """Raises InvalidRequest."""
    enforced = policies.enforced
    return Compiled(
        policies,
        compile_documents(scope, enforced),
        {
            shadow.mark if scope is not PLATFORM else f"platform:{shadow.mark}": rules
            for name, shadow in policies.shadows.items()
            if (rules := compile_documents(scope, {**enforced, name: shadow})) is not None
        },
    )


def compile_documents(scope: Scope, documents: Mapping[str, Document]) -> RuleSet | None:
    """None of none. Raises InvalidRequest."""
    prefix = "platform:" if scope is PLATFORM else ""
    sources = [Source(f"{prefix}{name}", document.source) for name, document in sorted(documents.items())]
    return compile_rules(sources) if sources else None


def outcome(request: PolicyRequest, verdicts: list[Verdict]) -> tuple[Effect, tuple[str, ...], str, Demand | None]:
    """Effect, the rules that decided, why, and what is demanded: the platform's verdict and the workspace's as one."""
    failed = tuple(rule for verdict in verdicts for rule in verdict.failed)
    if failed:
        return Effect.DENY, failed, f"{_named(failed)} could not be evaluated", None
    refusing = [verdict for verdict in verdicts if not verdict.allowed]
    if refusing:
        rules = tuple(rule for verdict in refusing for rule in verdict.rules)
        if not rules:
            return Effect.DENY, (), f"no rule permits {request.action}", None
        return Effect.DENY, rules, f"{_named(rules)} forbids {request.action}", None
    rules = tuple(rule for verdict in verdicts for rule in verdict.rules)
    if not rules:
        return Effect.ALLOW, (), f"no rule is about {request.action}: the role decides", None
    demand = strictest(verdict.demand for verdict in verdicts)
    if demand is not None:
        return Effect.HOLD, rules, f"{_named(rules)} permits it once {demand.quorum} approved", demand
    return Effect.ALLOW, rules, f"{_named(rules)} permits it", None


def _named(rules: tuple[str, ...]) -> str:
    return f"the rule {rules[0]}" if len(rules) == 1 else f"the rules {', '.join(rules)}"
