"""What each kind of process may do with Celery's queues, where these are in Redis."""

from __future__ import annotations

from kombu import Connection
from kombu.transport.redis import Channel

from aragora_cp.config import ControlPlaneConfig
from aragora_cp.engine.app import UNUSED_QUEUE
from aragora_cp.engine.tickets import agent_node
from aragora_cp.engine.transport import QUARANTINE_KEY
from aragora_cp.lanes import SHARED_POOL, agent_lane, queue_name
from aragora_cp.model import agent_handle
from aragora_cp.store.access import Grant

#: Celery's exchange for remote control.
_CONTROL = "celery.pidbox"
_QUEUE_COMMANDS = ("brpop", "rpop", "lpush", "llen", "exists", "del")


def agent_grants(config: ControlPlaneConfig, workspace: str | None) -> list[Grant]:
    """An agent's process takes tickets from its own pool's queues, and gives tickets to its own and the shared ones."""
    prefix = config.key_prefix
    pool = workspace or SHARED_POOL
    own = (queue_name(f"{pool}.*"), queue_name(agent_lane(agent_handle("*", workspace))))
    # A shared agent's finish lets out what private agents of the workspace may take too.
    others = (queue_name(f"{SHARED_POOL}.*"),) if workspace else ("cp.*",)
    mailbox = f"{agent_node(agent_handle('*', workspace))}.{_CONTROL}*"
    return [
        Grant(_QUEUE_COMMANDS, tuple(prefix + queue for queue in (*own, mailbox))),
        Grant(("lpush",), tuple(prefix + queue for queue in others), of_keys="W"),
        Grant(("lpush", "llen"), (prefix + QUARANTINE_KEY,)),
        *_mailbox(config),
        *_answers(config),
        # Celery says when a worker comes and goes, and what it does once Flower asks for it.
        Grant(("publish",), channels=(_channel(config, "celeryev/*"),)),
    ]


def web_grants(config: ControlPlaneConfig) -> list[Grant]:
    """Gives tickets to every queue, looks how long it is, and tells agents what to stop."""
    prefix = config.key_prefix
    return [
        Grant(("lpush",), (f"{prefix}cp.*",), of_keys="W"),
        Grant(("llen", "exists"), (f"{prefix}cp.*",), of_keys="R"),
        *_mailbox(config, listens=False),
    ]


def monitor_grants(config: ControlPlaneConfig) -> list[Grant]:
    """The monitor does as web does, and Flower under the same user listens to Celery's events too."""
    channels = (_channel(config, "*"), _channel(config, _CONTROL), _channel(config, "celeryev/*"))
    return [
        Grant(("@list", "@set", "exists", "del", "-@dangerous"), (f"{config.key_prefix}*",)),
        Grant(("publish", "psubscribe", "punsubscribe"), channels=channels),
    ]


def _mailbox(config: ControlPlaneConfig, *, listens: bool = True) -> list[Grant]:
    words = ("psubscribe", "punsubscribe") if listens else ("publish",)
    return [
        Grant(words, channels=(_channel(config, _CONTROL),)),
        # kombu's scripts, which keep the bindings of its mailboxes alive and sweep those of the dead.
        Grant(("script|load", "script|exists")),
        Grant(
            ("evalsha", "@set", "@sortedset", "exists", "del", "pexpire", "pexpireat", "pttl", "persist", "time"),
            tuple(config.key_prefix + name for name in ("_kombu.binding.*", "_kombu.binding_*")),
        ),
        Grant(("sadd", "srem"), (*_bindings(config, _CONTROL), *_bindings(config, UNUSED_QUEUE)), of_keys="W"),
    ]


def _answers(config: ControlPlaneConfig) -> list[Grant]:
    """Flower asks agents how they are; each answers into the asker's own queue."""
    exchange = f"reply.{_CONTROL}"
    return [
        Grant(("smembers",), tuple(_bindings(config, exchange))),
        Grant(("lpush",), (f"{config.key_prefix}*.{exchange}*",), of_keys="W"),
    ]


def _bindings(config: ControlPlaneConfig, exchange: str) -> list[str]:
    names = (Channel.keyprefix_queue, Channel.keyprefix_binding_permanent)
    return [config.key_prefix + name % (exchange,) for name in names]


def _channel(config: ControlPlaneConfig, exchange: str) -> str:
    db = Connection(config.effective_broker_url).virtual_host or "0"
    return config.key_prefix + Channel.keyprefix_fanout.format(db=db.strip("/") or "0") + exchange
