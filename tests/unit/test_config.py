"""Settings: the decision record's defaults, and words that help whoever got one wrong."""

from __future__ import annotations

import dataclasses

import pytest

from aragora_cp.config import ControlPlaneConfig, redact_url
from aragora_cp.errors import ConfigError


def test_the_decision_records_fields_come_first_with_its_defaults() -> None:
    told = [(field.name, field.default) for field in dataclasses.fields(ControlPlaneConfig)][:6]
    assert told == [
        ("redis_url", "redis://localhost:6379"),
        ("key_prefix", "aragora:cp:"),
        ("heartbeat_timeout", 30.0),
        ("heartbeat_interval", 10.0),
        ("task_timeout", 300.0),
        ("max_task_retries", 3),
    ]


def test_it_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        ControlPlaneConfig().window = 9  # type: ignore[misc]


def test_an_empty_environment_gives_the_defaults() -> None:
    assert ControlPlaneConfig.from_env({}) == ControlPlaneConfig()
    assert ControlPlaneConfig.from_env({"PATH": "/bin", "ARAGORA_OTHER": "x"}) == ControlPlaneConfig()


def test_every_field_is_read_from_the_environment() -> None:
    config = ControlPlaneConfig.from_env(
        {
            "ARAGORA_CP_REDIS_URL": "rediss://store:6380/2",
            "ARAGORA_CP_HEARTBEAT_TIMEOUT": " 6.5 ",
            "ARAGORA_CP_HEARTBEAT_INTERVAL": "2",
            "ARAGORA_CP_MAX_TASK_RETRIES": "0",
            "ARAGORA_CP_BROKER_URL": "amqp://queue",
            "ARAGORA_CP_AGENT_TOKEN": "t0k3n",
        }
    )
    assert (config.redis_url, config.heartbeat_timeout, config.max_task_retries) == ("rediss://store:6380/2", 6.5, 0)
    assert config.effective_broker_url == "amqp://queue"
    assert config.agent_token == "t0k3n"


def test_the_broker_is_the_store_unless_named() -> None:
    assert ControlPlaneConfig(redis_url="unix:///run/store").effective_broker_url == "unix:///run/store"


def test_its_own_environment_makes_an_equal_one() -> None:
    config = ControlPlaneConfig(heartbeat_timeout=1.25, heartbeat_interval=0.5, window=7, log_level="DEBUG")
    assert ControlPlaneConfig.from_env(config.to_env()) == config
    assert ControlPlaneConfig().to_env() == {}


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        ("ARAGORA_CP_REDIS_URI", "ARAGORA_CP_REDIS_URL"),
        ("ARAGORA_CP_HEARTBEAT_TIMOUT", "ARAGORA_CP_HEARTBEAT_TIMEOUT"),
        ("ARAGORA_CP_MAX_RETRIES", "ARAGORA_CP_MAX_TASK_RETRIES"),
    ],
)
def test_an_unknown_setting_answers_with_the_one_meant(wrong: str, meant: str) -> None:
    with pytest.raises(ConfigError, match=f"unknown setting {wrong}; did you mean {meant}\\?"):
        ControlPlaneConfig.from_env({wrong: "1"})


def test_a_setting_like_no_other_answers_with_all_there_are() -> None:
    with pytest.raises(ConfigError, match=r"known are .*ARAGORA_CP_WINDOW"):
        ControlPlaneConfig.from_env({"ARAGORA_CP_" + "Q" * 40: "1"})


@pytest.mark.parametrize(
    ("name", "text", "kind"),
    [("WINDOW", "four", "a whole number"), ("WINDOW", "4.5", "a whole number"), ("TASK_TIMEOUT", "5m", "a number")],
)
def test_a_value_that_cannot_be_read_names_its_variable(name: str, text: str, kind: str) -> None:
    with pytest.raises(ConfigError, match=f"ARAGORA_CP_{name} must be {kind}"):
        ControlPlaneConfig.from_env({f"ARAGORA_CP_{name}": text})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("heartbeat_timeout", 0),
        ("heartbeat_timeout", float("nan")),
        ("task_timeout", float("inf")),
        ("task_timeout", -1.0),
        ("redis_timeout", "5"),
        ("window", 0),
        ("window", 1.5),
        ("window", True),
        ("max_task_retries", -1),
        ("drain_timeout", -0.1),
        ("key_prefix", ""),
        ("key_prefix", "a{b}"),
        ("key_prefix", "a b"),
        ("redis_url", "http://localhost"),
        ("redis_url", "localhost:6379"),
        ("broker_url", "sqs://x"),
        ("log_level", "LOUD"),
        ("log_format", "xml"),
    ],
)
def test_a_value_that_makes_no_sense_is_named_with_its_variable(name: str, value: object) -> None:
    with pytest.raises(ConfigError, match=f"^{name} .*set it as ARAGORA_CP_{name.upper()}$"):
        ControlPlaneConfig(**{name: value})  # type: ignore[arg-type]


def test_one_late_heartbeat_must_not_lose_an_agent() -> None:
    with pytest.raises(ConfigError, match=r"twice heartbeat_interval.*3 and 2"):
        ControlPlaneConfig(heartbeat_timeout=3.0, heartbeat_interval=2.0)


def test_nothing_that_it_shows_holds_a_password_or_a_token() -> None:
    config = ControlPlaneConfig(
        redis_url="redis://user:h%40sh@store:1/0", broker_url="amqp://u:s3cret@queue//", agent_token="t0k3n"
    )
    assert repr(config) == (
        "ControlPlaneConfig(redis_url='redis://user:***@store:1/0', broker_url='amqp://u:***@queue//')"
    )
    with pytest.raises(ConfigError) as told:
        ControlPlaneConfig(redis_url="http://user:h4sh@store")
    assert "h4sh" not in str(told.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://store:1/0", "redis://store:1/0"),
        ("redis://:p%40ss@store", "redis://:***@store"),
        ("redis://:p@ss@store", "redis://:***@store"),
        ("redis://[", "(not a URL)"),
    ],
)
def test_redacted_urls(url: str, shown: str) -> None:
    assert redact_url(url) == shown
