"""One call of an OpenAI-compatible model (`POST {base}/chat/completions`), with bounded retries."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC
from decimal import Decimal, InvalidOperation
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

_ATTEMPTS = 4
#: Seconds: the first pause before another attempt when the server names none; it doubles each time.
_PAUSE = 0.5
#: Seconds: a server that asks for more patience than this is left to the control plane's own retry.
_LONGEST_PAUSE = 60.0
_CONNECT_TIMEOUT = 10.0
_READ_TIMEOUT = 120.0
_MILLION = Decimal(1_000_000)


class ModelError(RuntimeError):
    """The model did not answer; another time it may."""


class ModelRefusedError(ModelError):
    """The model will not take this request, however often it is sent (it is too long, for one)."""


@dataclass(frozen=True, slots=True)
class ChatSettings:
    """Where the model is. Prices are per million tokens, in the currency of the workspace's budget."""

    base_url: str
    model: str
    api_key: str = field(default="", repr=False)
    input_price: Decimal = Decimal(0)
    output_price: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True)
class Reply:
    """Tokens are as the server counts them, 0 when it does not say; `cost` follows from them and the prices."""

    text: str
    input_tokens: int
    output_tokens: int
    cost: Decimal


def settings_from(environment: Mapping[str, str]) -> ChatSettings | None:
    """OPENAI_BASE_URL and OPENAI_MODEL, with OPENAI_API_KEY, OPENAI_INPUT_PRICE and OPENAI_OUTPUT_PRICE if set.

    None without OPENAI_BASE_URL: a key alone, as many have in their environment, must not start to cost money.
    Raises ValueError when a setting is missing or wrong.
    """
    base = environment.get("OPENAI_BASE_URL", "").strip()
    if not base:
        return None
    if not base.startswith(("http://", "https://")):
        raise ValueError("OPENAI_BASE_URL must start with http:// or https://")
    model = environment.get("OPENAI_MODEL", "").strip()
    if not model:
        raise ValueError("OPENAI_MODEL must name the model at OPENAI_BASE_URL")
    return ChatSettings(
        base_url=base.rstrip("/"),
        model=model,
        api_key=environment.get("OPENAI_API_KEY", "").strip(),
        input_price=_price(environment, "OPENAI_INPUT_PRICE"),
        output_price=_price(environment, "OPENAI_OUTPUT_PRICE"),
    )


def complete(
    settings: ChatSettings,
    messages: Sequence[Mapping[str, str]],
    *,
    deadline: float,
    now: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
) -> Reply:
    """The model's reply to `messages` (`[{"role", "content"}]`).

    Tries again when the server cannot be reached or answers 429 or 5xx, after the pause that Retry-After asks for, and
    never past `deadline` (seconds since the epoch). Raises ModelRefusedError and ModelError; neither names the key.
    """
    headers = {"authorization": f"Bearer {settings.api_key}"} if settings.api_key else {}
    body = {"model": settings.model, "messages": list(messages)}
    pause = _PAUSE
    for attempt in range(1, _ATTEMPTS + 1):
        left = deadline - now()
        if left <= 0:
            raise ModelError("there is no time left to ask the model")
        wait = pause
        try:
            response = httpx.post(
                f"{settings.base_url}/chat/completions",
                json=body,
                headers=headers,
                timeout=httpx.Timeout(min(_READ_TIMEOUT, left), connect=min(_CONNECT_TIMEOUT, left)),
            )
        except httpx.TransportError as error:
            problem = f"the model cannot be reached: {type(error).__name__}"
        else:
            if response.is_success:
                return _reply(response, settings)
            problem = _problem(response, settings)
            if response.status_code in (400, 413, 422):
                raise ModelRefusedError(problem)
            if response.status_code != 429 and response.status_code < 500:
                raise ModelError(problem)
            wait = _retry_after(response, now()) or pause
        if attempt == _ATTEMPTS or wait > min(_LONGEST_PAUSE, deadline - now()):
            break
        sleep(wait)
        pause *= 2
    raise ModelError(problem)


def _reply(response: httpx.Response, settings: ChatSettings) -> Reply:
    try:
        data = response.json()
        text = data["choices"][0]["message"]["content"]
    except (ValueError, LookupError, TypeError):
        raise ModelError("the model's answer is not a chat completion") from None
    if not isinstance(text, str) or not text.strip():
        raise ModelError("the model's answer is empty")
    usage = data.get("usage")
    tokens_in, tokens_out = _count(usage, "prompt_tokens"), _count(usage, "completion_tokens")
    cost = (tokens_in * settings.input_price + tokens_out * settings.output_price) / _MILLION
    return Reply(text.strip(), tokens_in, tokens_out, cost)


def _count(usage: Any, name: str) -> int:
    value = usage.get(name) if isinstance(usage, dict) else None
    return value if isinstance(value, int) and value > 0 else 0


def _problem(response: httpx.Response, settings: ChatSettings) -> str:
    """What the server said, shortened. Some servers repeat the key in their refusal."""
    said = " ".join(response.text.split())
    if settings.api_key:
        said = said.replace(settings.api_key, "***")
    return f"the model answered {response.status_code}: {said[:200]}"


def _retry_after(response: httpx.Response, now: float) -> float | None:
    """Seconds from Retry-After, which is a number of them or a date (RFC 9110, 10.2.3); None without either."""
    value = response.headers.get("retry-after", "").strip()
    if value.isdecimal():
        return float(value)
    try:
        date = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - now)


def _price(environment: Mapping[str, str], name: str) -> Decimal:
    try:
        price = Decimal(environment.get(name, "").strip() or "0")
    except InvalidOperation:
        price = Decimal("nan")
    if not price.is_finite() or price < 0:
        raise ValueError(f"{name} must be a price per million tokens, as 2.50")
    return price
