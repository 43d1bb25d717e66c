"""The agent of the acceptance tests; what it can do is for the test to say, in its environment."""

from __future__ import annotations

import os

from aragora_cp import Agent
from tests.acceptance.agents.handlers import install

capabilities = os.environ.get("HELPER_CAPABILITIES", "work").split("+")
agent = Agent("helper", capabilities=capabilities, model=os.environ.get("HELPER_MODEL", ""))
install(agent)
app = agent.app
