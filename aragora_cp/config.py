"""ControlPlaneConfig: every setting, read once from the environment, validated, frozen, handed down."""

from __future__ import annotations

import difflib
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from aragora_cp.errors import ConfigError
from aragora_cp.ratelimits import parse_limits
from aragora_cp.rootkeys import parse_root_keys

ENV_PREFIX = "ARAGORA_CP_"
#: Names below the prefix that are no settings: the command line finds a running control plane by them.
OTHER_VARIABLES = ("ARAGORA_CP_URL", "ARAGORA_CP_TOKEN", "ARAGORA_CP_WORKSPACE")

_REDIS_SCHEMES = ("redis", "rediss", "unix")
_BROKER_SCHEMES = (*_REDIS_SCHEMES, "amqp", "amqps")
_PARSERS: Mapping[str, tuple[Callable[[str], Any], str]] = {
    "str": (str, "text"),
    "int": (int, "a whole number"),
    "float": (float, "a number"),
}
_BREAKER_MODES = ("on", "off")
#: The window is read with each outcome.
_MOST_BREAKER_CALLS = 200
_LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
_LOG_FORMATS = ("auto", "json", "console")


@dataclass(frozen=True, kw_only=True)
class ControlPlaneConfig:
    """Settings of one control plane. Durations are seconds, sizes bytes.

    The first six fields and their defaults are the decision record's. Every field is read from the environment
    as ``ARAGORA_CP_<FIELD IN CAPITALS>`` by :meth:`from_env`. Raises ConfigError when a value makes no sense.
    """

    redis_url: str = "redis://localhost:6379"
    key_prefix: str = "aragora:cp:"
    heartbeat_timeout: float = 30.0
    heartbeat_interval: float = 10.0
    task_timeout: float = 300.0
    max_task_retries: int = 3

    #: Where Celery's queues live; empty: beside the records, in `redis_url`.
    broker_url: str = ""
    #: For `rediss://`: the CA that signed the server's certificate (PEM); empty: those that the system trusts.
    redis_ca_file: str = ""
    #: For a server that wants to know its clients by certificate: ours, and its key (PEM).
    redis_cert_file: str = ""
    redis_key_file: str = field(default="", repr=False)
    #: Connections one process may open to the store; a further caller waits up to `redis_timeout` for one.
    redis_pool_size: int = 64
    #: Bound on connecting to the store, on one answer from it and on waiting for a free connection.
    redis_timeout: float = 5.0
    #: Tickets that one workspace may have in a lane at one priority, times its weight.
    window: int = 4
    #: A task that has waited this long is sent once more, one priority higher; and so on for each further such time.
    ageing: float = 60.0
    #: How long a finished task, its result included, is kept.
    result_retention: float = 7 * 86400.0
    idempotency_ttl: float = 86400.0
    max_payload_bytes: int = 256 * 1024
    max_result_bytes: int = 1024 * 1024
    #: How long an agent that was asked to stop lets its running tasks finish.
    drain_timeout: float = 60.0
    #: Time between the soft and the hard end of an attempt: for its time limit, and for a cancelled task.
    kill_grace: float = 5.0
    #: How long an agent keeps trying to report an outcome while the store is away.
    report_timeout: float = 600.0
    #: Pause between two rounds of the monitor.
    monitor_interval: float = 0.25
    web_threads: int = 64
    #: `on`, or `off`: no breaker opens by itself. What operators force and upstreams ask for holds either way.
    breaker_mode: str = "on"
    #: What an agent's breaker judges by: its last so many attempts, none older than `breaker_window`.
    breaker_window_calls: int = 50
    breaker_window: float = 600.0
    #: It judges by no fewer attempts than this.
    breaker_min_calls: int = 5
    #: It opens when this share of them failed, or when this share of them took `breaker_slow_time` or longer.
    breaker_failure_rate: float = 0.5
    breaker_slow_rate: float = 1.0
    breaker_slow_time: float = 240.0
    #: How long it stays open; twice as long each time, up to the longest.
    breaker_open_time: float = 30.0
    breaker_max_open_time: float = 300.0
    #: Attempts that must all do well before it closes again.
    breaker_probes: int = 3
    #: Of a lane's agents, no greater share is kept out by their breakers at once (rounded down).
    max_ejection_share: float = 0.5
    #: Failed authentications of one source address a minute; more are refused before they are looked at.
    auth_failures: int = 30
    #: Proxies of ours before the web processes, each of which appends to X-Forwarded-For.
    trusted_proxies: int = 0
    agent_token: str = field(default="", repr=False)
    #: A file with the Ed25519 key (PEM) that signs the seals of the audit trails; empty: they are not signed.
    audit_key_file: str = ""
    #: How long audit entries are kept; they go in whole sealed segments.
    audit_retention: float = 30 * 86400.0
    #: Root keys, `id:base64` each, newest first: the first encrypts, all decrypt. Empty: nothing is encrypted.
    encryption_keys: str = field(default="", repr=False)
    #: A file that holds them instead, one a line.
    encryption_key_file: str = ""
    #: Rate limits of workspaces that have none of their own, as JSON: {"submit": {"limit": 100, "period": 60}}.
    rate_limits: str = ""
    #: Where alerts go beside the log: a URL that takes Standard Webhooks, and the secret (`whsec_…`) that signs them.
    alert_webhook_url: str = field(default="", repr=False)
    alert_webhook_secret: str = field(default="", repr=False)
    #: The address of an Alertmanager, whose API (v2) is told of every alert.
    alert_alertmanager_url: str = field(default="", repr=False)
    #: Apprise's URLs, between white space; needs the extra `alerts`.
    alert_apprise_urls: str = field(default="", repr=False)
    #: Waiting that is worth an alert, and shares that are: of ended tasks that failed, of the store's memory.
    alert_oldest_wait: float = 300.0
    alert_failure_rate: float = 0.5
    alert_store_memory: float = 0.85
    #: How long a web process that was told to stop still answers, as not ready: for load balancers to notice.
    shutdown_delay: float = 1.0
    log_level: str = "INFO"
    #: `auto` is readable in a terminal and JSON everywhere else.
    log_format: str = "auto"

    def __post_init__(self) -> None:
        for name in (
            "heartbeat_timeout",
            "heartbeat_interval",
            "task_timeout",
            "redis_timeout",
            "result_retention",
            "idempotency_ttl",
            "kill_grace",
            "report_timeout",
            "monitor_interval",
            "ageing",
            "audit_retention",
            "breaker_window",
            "breaker_slow_time",
            "breaker_open_time",
            "breaker_max_open_time",
            "alert_oldest_wait",
        ):
            self._require(name, _positive, "must be a positive number of seconds")
        for name in (
            "redis_pool_size",
            "window",
            "max_payload_bytes",
            "max_result_bytes",
            "web_threads",
            "auth_failures",
            "breaker_window_calls",
            "breaker_min_calls",
            "breaker_probes",
        ):
            self._require(name, lambda v: isinstance(v, int) and v >= 1, "must be a whole number of at least 1")
        self._check_breaker()
        self._require("max_task_retries", lambda v: isinstance(v, int) and v >= 0, "must be 0 or more")
        self._require("trusted_proxies", lambda v: isinstance(v, int) and 0 <= v <= 16, "must be 0 to 16")
        self._require("drain_timeout", lambda v: math.isfinite(v) and v >= 0, "must be 0 or more seconds")
        for name in ("alert_failure_rate", "alert_store_memory"):
            self._require(name, lambda v: 0 < v <= 1, "must be a share above 0, at most 1")
        self._require("shutdown_delay", lambda v: 0 <= v <= 20, "must be 0 to 20 seconds")
        self._check_alerts()
        self._require("key_prefix", lambda v: bool(v) and not set(v) & set("{}*?[]\\ "),
                      "must not be empty and must not hold spaces or any of {}*?[]\\")  # fmt: skip
        self._require("redis_url", _scheme_in(_REDIS_SCHEMES), f"must start with one of: {_urls(_REDIS_SCHEMES)}")
        if self.broker_url:
            self._require(
                "broker_url", _scheme_in(_BROKER_SCHEMES), f"must start with one of: {_urls(_BROKER_SCHEMES)}"
            )
        self._check_tls()
        self._require("log_level", lambda v: v in _LOG_LEVELS, f"must be one of: {', '.join(_LOG_LEVELS)}")
        self._require("log_format", lambda v: v in _LOG_FORMATS, f"must be one of: {', '.join(_LOG_FORMATS)}")
        if self.encryption_keys and self.encryption_key_file:
            raise ConfigError("encryption_keys and encryption_key_file are both set; the root keys stand in one place")
        parse_root_keys(self.encryption_keys, "encryption_keys")
        try:
            parse_limits(self.rate_limits)
        except ValueError as error:
            raise ConfigError(f"rate_limits: {error}") from None
        if self.heartbeat_timeout < 2 * self.heartbeat_interval:
            raise ConfigError(
                "heartbeat_timeout must be at least twice heartbeat_interval, or one late heartbeat loses an agent "
                f"(they are {self.heartbeat_timeout:g} and {self.heartbeat_interval:g})"
            )

    def _require(self, name: str, ok: Callable[[Any], bool], rule: str) -> None:
        value = getattr(self, name)
        try:
            good = not isinstance(value, bool) and ok(value)
        except TypeError:
            good = False
        if not good:
            shown = redact_url(value) if name.endswith("_url") else value
            raise ConfigError(f"{name} {rule} (it is {shown!r}); set it as {ENV_PREFIX}{name.upper()}")

    def _check_breaker(self) -> None:
        self._require("breaker_mode", lambda v: v in _BREAKER_MODES, f"must be one of: {', '.join(_BREAKER_MODES)}")
        self._require(
            "breaker_window_calls", lambda v: v <= _MOST_BREAKER_CALLS, f"must be at most {_MOST_BREAKER_CALLS}"
        )
        for name in ("breaker_failure_rate", "breaker_slow_rate"):
            self._require(name, lambda v: 0 < v <= 1, "must be a share above 0, up to 1")
        self._require("max_ejection_share", lambda v: 0 <= v <= 1, "must be a share from 0 to 1")
        if self.breaker_min_calls > self.breaker_window_calls:
            raise ConfigError("breaker_min_calls is above breaker_window_calls: no breaker would ever open")
        if self.breaker_max_open_time < self.breaker_open_time:
            raise ConfigError("breaker_max_open_time must not be below breaker_open_time")

    def _check_alerts(self) -> None:
        for name in ("alert_webhook_url", "alert_alertmanager_url"):
            if getattr(self, name) and urlsplit(getattr(self, name)).scheme not in ("http", "https"):
                raise ConfigError(f"{name} must start with http:// or https://")
        if bool(self.alert_webhook_url) != bool(self.alert_webhook_secret):
            raise ConfigError("alert_webhook_url and alert_webhook_secret go together")

    def _check_tls(self) -> None:
        """A connection that somebody believes to be encrypted must be."""
        given = [name for name in ("redis_ca_file", "redis_cert_file", "redis_key_file") if getattr(self, name)]
        if given and not any(url.startswith("rediss:") for url in (self.redis_url, self.broker_url)):
            raise ConfigError(f"{given[0]} is set, but no URL begins with rediss://: nothing would be encrypted")
        for name in given:
            if not os.access(getattr(self, name), os.R_OK):
                raise ConfigError(f"{name} cannot be read: {getattr(self, name)}")
        if bool(self.redis_cert_file) != bool(self.redis_key_file):
            raise ConfigError("redis_cert_file and redis_key_file go together")

    def tls_options(self, url: str) -> dict[str, str]:
        """What the Redis driver is told for `url`, beside the URL itself; nothing for one without TLS."""
        if not url.startswith("rediss:"):
            return {}
        files = {
            "ssl_ca_certs": self.redis_ca_file,
            "ssl_certfile": self.redis_cert_file,
            "ssl_keyfile": self.redis_key_file,
        }
        return {"ssl_cert_reqs": "required"} | {name: file for name, file in files.items() if file}

    @property
    def effective_broker_url(self) -> str:
        return self.broker_url or self.redis_url

    @property
    def heartbeat_timeout_ms(self) -> int:
        return round(self.heartbeat_timeout * 1000)

    def __repr__(self) -> str:
        shown = (
            f"{f.name}={redact_url(v) if f.name.endswith('_url') else v!r}"
            for f in fields(self)
            if f.repr and (v := getattr(self, f.name)) != f.default
        )
        return f"ControlPlaneConfig({', '.join(shown)})"

    def to_env(self) -> dict[str, str]:
        """The environment that makes an equal configuration in another process (only what differs from a default)."""
        return {
            ENV_PREFIX + f.name.upper(): str(getattr(self, f.name))
            for f in fields(self)
            if getattr(self, f.name) != f.default
        }

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> ControlPlaneConfig:
        """Build from `environ` (the process's by default).

        Raises ConfigError naming the variable for a value that cannot be read, and for an unknown
        ``ARAGORA_CP_`` variable, with the one that was probably meant.
        """
        source = dict(os.environ if environ is None else environ)
        known = {ENV_PREFIX + f.name.upper(): f for f in fields(cls)}
        for name in sorted(source):
            if name.startswith(ENV_PREFIX) and name not in known and name not in OTHER_VARIABLES:
                meant = difflib.get_close_matches(name, [*known, *OTHER_VARIABLES], n=1)
                hint = f"did you mean {meant[0]}?" if meant else f"known are {', '.join(sorted(known))}"
                raise ConfigError(f"unknown setting {name}; {hint}")
        values: dict[str, Any] = {}
        for name, spec in known.items():
            if name not in source:
                continue
            parse, kind = _PARSERS[str(spec.type)]
            try:
                values[spec.name] = parse(source[name].strip())
            except ValueError as error:
                raise ConfigError(f"{name} must be {kind}") from error
        return cls(**values)


def _positive(value: float) -> bool:
    return math.isfinite(value) and value > 0


def _scheme_in(schemes: tuple[str, ...]) -> Callable[[str], bool]:
    return lambda url: urlsplit(url).scheme in schemes


def _urls(schemes: tuple[str, ...]) -> str:
    return ", ".join(f"{scheme}://" for scheme in schemes)


def redact_url(url: str) -> str:
    """`url` without its password, for logs and messages."""
    try:
        parts = urlsplit(url)
        if parts.password is None:
            return url
        return urlunsplit(parts._replace(netloc=f"{parts.username or ''}:***@{parts.netloc.rpartition('@')[2]}"))
    except ValueError:
        return "(not a URL)"
