"""Flags: feature flags, asked through the OpenFeature API and evaluated in this process."""

from __future__ import annotations

import itertools
import json
import logging
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from openfeature import api
from openfeature.evaluation_context import EvaluationContext
from openfeature.flag_evaluation import FlagEvaluationDetails
from openfeature.provider.no_op_provider import NoOpProvider

from aragora_cp.policy.flag_copies import FlagCopies, FlagRecords
from aragora_cp.policy.provider import SOURCE, VERSION, WORKSPACE, Answering, AragoraProvider
from aragora_cp.ports import Switches

log = logging.getLogger(__name__)

#: What the product itself asks. Where one of these is not set, everything is as if there were no flags.
#: `capability.<name>` off: tasks that need it are accepted and wait.
CAPABILITY_PREFIX = "capability."
#: On: nothing of the workspace is accepted or handed out where it cannot be encrypted.
ENCRYPTION_REQUIRED = "encryption.required"
#: Off: versions of policies in shadow mode do not judge live traffic.
SHADOW_RULES = "rules.shadow"
#: Flags under these are the platform's: a workspace's own token changes none of them.
RESERVED = (CAPABILITY_PREFIX, "encryption.", "rules.")

_MOST_LOGGED = 1000
#: By the type of a flag's variants: all numbers are floats to whoever has no type in mind.
_NOTHING: Mapping[type, Any] = {bool: False, int: 0.0, float: 0.0, str: "", dict: {}}
_numbers = itertools.count()


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A value and how it came about. `version` and `source` (platform or override) tell the flag that answered; with an
    `error` the value is the default that was given."""

    name: str
    value: Any
    variant: str | None
    reason: str
    version: int | None
    source: str | None
    error: str | None


class Flags(Switches):
    """Never raises but where it says so: what cannot be evaluated is the default, and logged once. At most one round
    trip in `flag_copies.FRESH` seconds for a workspace, else none. Safe to share between threads; not to be carried
    over a fork."""

    def __init__(self, records: FlagRecords, **copies: Any) -> None:
        """`copies`: the keyword arguments of FlagCopies."""
        self._copies = FlagCopies(records, **copies)
        # OpenFeature's clients find their provider by a domain; each of these has one of its own.
        self._domain = f"aragora-cp-{os.getpid()}-{next(_numbers)}"
        api.set_provider_and_wait(AragoraProvider(self.find), domain=self._domain)
        self.client = api.get_client(self._domain)
        self._logged: set[tuple[str, str | None]] = set()

    def close(self) -> None:
        """From now on every flag is its default."""
        api.set_provider_and_wait(NoOpProvider(), domain=self._domain)

    # --- what is asked ---------------------------------------------------------------------------------------------

    def flag_enabled(self, name: str, workspace: str | None, default: bool) -> bool:
        """A boolean flag for a workspace as a whole: a share of workspaces is a share of these answers."""
        if self.find(name, workspace) is None:  # most are not set: then nothing is evaluated
            return default
        return bool(self.value(name, default, workspace=workspace))

    def value(
        self,
        name: str,
        default: Any,
        *,
        workspace: str | None,
        targeting_key: str | None = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> Any:
        """The flag's value, of the type of `default` (None: of any); `default` when there is no such flag."""
        return self.evaluate(
            name, default, workspace=workspace, targeting_key=targeting_key, attributes=attributes
        ).value

    def evaluate(
        self,
        name: str,
        default: Any,
        *,
        workspace: str | None,
        targeting_key: str | None = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> Evaluation:
        """`targeting_key` decides shares (without: the workspace); `attributes` are what rules can ask beside
        `workspace`."""
        asked = self._sample(name, workspace) if default is None else default
        known = {**(attributes or {}), **({WORKSPACE: workspace} if workspace else {})}
        try:
            told = self._ask(name, asked, EvaluationContext(targeting_key or workspace, known))
        except Exception as fault:
            told = FlagEvaluationDetails(name, default, reason="ERROR", error_message=type(fault).__name__)
        error = told.error_code.value if told.error_code else told.error_message
        if error and error != "FLAG_NOT_FOUND":
            self._log_once(name, workspace, error)
        metadata: Mapping[str, Any] = told.flag_metadata
        return Evaluation(
            name=name,
            value=default if error or told.variant is None else told.value,
            variant=told.variant,
            reason=str(told.reason or "UNKNOWN"),
            version=metadata.get(VERSION),
            source=metadata.get(SOURCE),
            error=error,
        )

    def find(self, name: str, workspace: str | None) -> Answering | None:
        """The flag that counts: the workspace's own unless it is disabled, else the platform's."""
        homes = {"platform": None} if workspace is None else {"override": workspace, "platform": None}
        sets = dict(zip(homes, self._copies.of(*homes.values()), strict=True))
        having = [(source, flags) for source, flags in sets.items() if name in flags.versions]
        having.sort(key=lambda each: name not in each[1].on)  # stable: what is on comes first
        for source, flags in having:
            found = flags.versions[name]
            return Answering(flags.core, found.version, source, found.text)
        return None

    def forget(self, home: str | None = None) -> None:
        """The store says that a flag has changed: of a workspace, or `*`, the platform; without a name, any."""
        self._copies.forget(None if home == "*" else home, everything=home is None)

    # --- what the product asks (ports.Switches) --------------------------------------------------------------------

    def look(self, workspaces: Iterable[str]) -> None:
        self._copies.look([None, *workspaces])

    def switched_off(self, workspace: str) -> frozenset[str]:
        names = {
            name
            for flags in self._copies.of(workspace, None)
            for name in flags.on
            if name.startswith(CAPABILITY_PREFIX)
        }
        return frozenset(
            name.removeprefix(CAPABILITY_PREFIX) for name in names if not self.flag_enabled(name, workspace, True)
        )

    def must_encrypt(self, workspace: str) -> bool:
        return self.flag_enabled(ENCRYPTION_REQUIRED, workspace, False)

    # --- inside ----------------------------------------------------------------------------------------------------

    def _ask(self, name: str, default: Any, context: EvaluationContext) -> FlagEvaluationDetails[Any]:
        if isinstance(default, bool):
            return self.client.get_boolean_details(name, default, context)
        if isinstance(default, int):
            return self.client.get_integer_details(name, default, context)
        if isinstance(default, float):
            return self.client.get_float_details(name, default, context)
        if isinstance(default, str):
            return self.client.get_string_details(name, default, context)
        return self.client.get_object_details(name, default, context)

    def _sample(self, name: str, workspace: str | None) -> Any:
        """A value of the type that the flag has."""
        found = self.find(name, workspace)
        variants = json.loads(found.text)["variants"] if found else {"": {}}
        return _NOTHING.get(type(next(iter(variants.values()))))

    def _log_once(self, name: str, workspace: str | None, error: str) -> None:
        if (name, workspace) not in self._logged and len(self._logged) < _MOST_LOGGED:
            self._logged.add((name, workspace))
            log.warning(
                "a flag cannot be evaluated, its default counts",
                extra={"flag": name, "workspace": workspace, "reason": error},
            )
