"""AragoraProvider: our flags under the OpenFeature API. Values come from this process's own copy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from openfeature.contrib.tools.flagd.core import FlagdCore
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import FlagNotFoundError
from openfeature.flag_evaluation import FlagResolutionDetails
from openfeature.provider import AbstractProvider, Metadata

#: Attribute of the evaluation context: whose flags count. Without it, the platform's.
WORKSPACE = "workspace"
#: Of the details' metadata: which version of the flag answered, and whether it is the platform's or an override.
VERSION, SOURCE = "aragora.version", "aragora.source"


@dataclass(frozen=True, slots=True)
class Answering:
    """The flag that counts for a workspace. `source` is platform or override; `text` is what it says."""

    core: FlagdCore
    version: int
    source: str
    text: str


#: From a flag's name and a workspace (None: the platform's flags alone) to the one that counts.
Finder = Callable[[str, str | None], Answering | None]


class AragoraProvider(AbstractProvider):
    """Evaluates flagd's JSON in process (`openfeature-flagd-core`). Safe to share between threads."""

    def __init__(self, find: Finder) -> None:
        super().__init__()
        self._find = find

    def get_metadata(self) -> Metadata:
        return Metadata("aragora")

    def resolve_boolean_details(
        self, flag_key: str, default_value: bool, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[bool]:
        return self._resolve(flag_key, "boolean", default_value, evaluation_context)

    def resolve_string_details(
        self, flag_key: str, default_value: str, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[str]:
        return self._resolve(flag_key, "string", default_value, evaluation_context)

    def resolve_integer_details(
        self, flag_key: str, default_value: int, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[int]:
        return self._resolve(flag_key, "integer", default_value, evaluation_context)

    def resolve_float_details(
        self, flag_key: str, default_value: float, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[float]:
        return self._resolve(flag_key, "float", default_value, evaluation_context)

    def resolve_object_details(
        self,
        flag_key: str,
        default_value: Sequence[Any] | Mapping[str, Any],
        evaluation_context: EvaluationContext | None = None,
    ) -> FlagResolutionDetails[Sequence[Any] | Mapping[str, Any]]:
        return self._resolve(flag_key, "object", default_value, evaluation_context)

    def _resolve(self, name: str, kind: str, default: Any, context: EvaluationContext | None) -> Any:
        """Raises OpenFeatureError, which the client makes the default of."""
        workspace = context.attributes.get(WORKSPACE) if context else None
        found = self._find(name, workspace if isinstance(workspace, str) else None)
        if found is None:
            raise FlagNotFoundError(f"there is no flag {name!r}")
        details = getattr(found.core, f"resolve_{kind}_value")(name, default, context)
        told = {**details.flag_metadata, VERSION: found.version, SOURCE: found.source}
        return replace(details, flag_metadata=told)
