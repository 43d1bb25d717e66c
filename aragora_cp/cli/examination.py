"""What `aragora-cp doctor` looks at. One check, one function; each says what it found and what to do."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from aragora_cp.config import ControlPlaneConfig, redact_url
from aragora_cp.errors import AragoraError, BrokerUnavailable, ConfigError
from aragora_cp.store.connection import connect, translated
from aragora_cp.store.inspection import Inspector
from aragora_cp.store.probes import StoreProbes, StoreReport
from aragora_cp.store.vault import MOST_WORKSPACES, Vault
from aragora_cp.tenancy.signing import read_signer
from aragora_cp.wiring import build

OLDEST_REDIS = (6, 2)
#: A difference of clocks beyond this is said, in seconds. It harms nothing but people reading times.
CLOCK_TOLERANCE = 1.0


class Verdict(StrEnum):
    OK = "ok"
    WARNING = "warning"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report. `advice` says what to do about it; empty when there is nothing to do."""

    check: str
    verdict: Verdict
    found: str
    advice: str = ""


def examine(config: ControlPlaneConfig) -> Iterator[Finding]:
    """Every check that makes sense, in the order in which to mend things. Changes nothing."""
    probes = StoreProbes(config)
    try:
        report = probes.report()
    finally:
        probes.close()
    yield _store(config, report)
    if report.reachable:
        server, skew = _ask_server(config)
        yield _version(server)
        yield _clock(skew)
        yield _eviction(report)
        yield _persistence(server)
        yield _encryption(config)
        yield _audit(config)
    yield _broker(config)
    if report.reachable:
        yield _monitor(report)
        yield _agents(report)


def _store(config: ControlPlaneConfig, report: StoreReport) -> Finding:
    where = redact_url(config.redis_url)
    if not report.reachable:
        return Finding(
            "store",
            Verdict.WRONG,
            f"{where} does not answer",
            "start Redis or Valkey there, or set ARAGORA_CP_REDIS_URL; `aragora-cp dev` brings a store of its own",
        )
    if not report.writable:
        return Finding(
            "store", Verdict.WRONG, f"{where} takes no writes", "look for a full disk, maxmemory or a replica"
        )
    return Finding("store", Verdict.OK, f"{where} answers in {report.seconds * 1000:.0f} ms and takes writes")


def _ask_server(config: ControlPlaneConfig) -> tuple[Mapping[str, Any], float]:
    """What the server says of itself, and its clock minus ours in seconds. Raises StoreUnavailable."""
    client = connect(config, pool_size=1)
    try:
        with translated():
            found = {**client.info("server"), **client.info("persistence")}
            before = time.time()
            seconds, micros = client.time()
            after = time.time()
    finally:
        client.close()
    return found, seconds + micros / 1e6 - (before + after) / 2


def _version(server: Mapping[str, Any]) -> Finding:
    if "valkey_version" in server:
        return Finding("version", Verdict.OK, f"Valkey {server['valkey_version']}")
    version = str(server.get("redis_version", "0"))
    parts = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if parts < OLDEST_REDIS:
        return Finding("version", Verdict.WRONG, f"Redis {version}", "Redis 6.2 or newer, or Valkey, is needed")
    return Finding("version", Verdict.OK, f"Redis {version}")


def _clock(skew: float) -> Finding:
    if abs(skew) > CLOCK_TOLERANCE:
        return Finding(
            "clock",
            Verdict.WARNING,
            f"the store's clock is {abs(skew):.1f} s {'ahead of' if skew > 0 else 'behind'} this host's",
            "set both by NTP; leases go by the store's clock alone, but the times shown will puzzle you",
        )
    return Finding("clock", Verdict.OK, f"the store's differs by {abs(skew) * 1000:.0f} ms")


def _eviction(report: StoreReport) -> Finding:
    policy = report.eviction_policy
    if policy is None:
        return Finding("eviction", Verdict.WARNING, "the server does not tell its policy", "it must be noeviction")
    if policy != "noeviction":
        return Finding(
            "eviction",
            Verdict.WRONG,
            f"maxmemory-policy is {policy}: tasks would vanish without a word",
            "CONFIG SET maxmemory-policy noeviction, and the same in its settings file",
        )
    return Finding("eviction", Verdict.OK, "noeviction")


def _persistence(server: Mapping[str, Any]) -> Finding:
    if not server.get("aof_enabled"):
        return Finding(
            "persistence",
            Verdict.WARNING,
            "the append-only file is off: a restart of the store loses tasks",
            "CONFIG SET appendonly yes, and the same in its settings file",
        )
    if server.get("aof_last_write_status", "ok") != "ok":
        return Finding(
            "persistence", Verdict.WRONG, "the last write to the append-only file failed", "look at its disk"
        )
    return Finding("persistence", Verdict.OK, "append-only file on")


def _encryption(config: ControlPlaneConfig) -> Finding:
    client = connect(config, pool_size=1)
    try:
        vault = Vault(client, config)
        closed = vault.closed(Inspector(client, config).workspaces()[:MOST_WORKSPACES])
    except ConfigError as error:
        return Finding("encryption", Verdict.WRONG, str(error))
    finally:
        client.close()
    if closed:
        return Finding(
            "encryption",
            Verdict.WRONG,
            f"no root key here for encrypted workspaces ({len(closed)}): {', '.join(closed[:3])}",
            "set ARAGORA_CP_ENCRYPTION_KEYS or ARAGORA_CP_ENCRYPTION_KEY_FILE; `aragora-cp keys status` says which",
        )
    if not vault.seals:
        return Finding("encryption", Verdict.OK, "off: no root keys are set")
    return Finding("encryption", Verdict.OK, f"on, under the root key {vault.roots.newest}")


def _audit(config: ControlPlaneConfig) -> Finding:
    if not config.audit_key_file:
        return Finding(
            "audit",
            Verdict.WARNING,
            "seals are chained but not signed: who can write to the store can write another trail",
            "set ARAGORA_CP_AUDIT_KEY_FILE for the monitor to an Ed25519 key outside the store",
        )
    try:
        read_signer(config.audit_key_file)
    except ConfigError as error:
        return Finding("audit", Verdict.WRONG, str(error), "the monitor will not start without it")
    return Finding("audit", Verdict.OK, "seals are signed")


def _broker(config: ControlPlaneConfig) -> Finding:
    where = redact_url(config.effective_broker_url)
    plane = build(config)
    try:
        plane.broker.depths(["shared.any"])
    except BrokerUnavailable:
        return Finding("broker", Verdict.WRONG, f"{where} does not answer", "start it, or set ARAGORA_CP_BROKER_URL")
    except AragoraError as error:
        return Finding("broker", Verdict.WRONG, str(error))
    finally:
        plane.close()
    return Finding("broker", Verdict.OK, f"{where} answers")


def _monitor(report: StoreReport) -> Finding:
    if not report.has_leader:
        return Finding("monitor", Verdict.WARNING, "none leads", "start `aragora-cp monitor`; retries wait for it")
    return Finding("monitor", Verdict.OK, "one leads")


def _agents(report: StoreReport) -> Finding:
    if not report.agents_online:
        return Finding("agents", Verdict.WARNING, "none is online", "start one: `aragora-cp worker workers.code:agent`")
    return Finding("agents", Verdict.OK, f"{report.agents_online} online")
