"""An agent without handlers: it must not start."""

from __future__ import annotations

from aragora_cp import Agent

agent = Agent("idler", capabilities=["work"])
app = agent.app
