"""What `aragora-cp flower` tells Flower, which reads this file: the names that are its options. FLOWER_CONF names
another file instead. Passwords are none of its business: they come from the environment."""

from __future__ import annotations

import re
from typing import Any

#: Agents that have gone leave the list after so many seconds; who is there is the registry's to say.
purge_offline_workers = 60
#: Tasks kept in memory, the newest.
max_tasks = 10_000
#: `args` says the workspace and the attempt, `result` the outcome: what a task was given and gave is never here.
tasks_columns = "name,uuid,state,args,result,received,runtime,worker"

_CODE = re.compile(r"AttemptEnded\('?([a-z-]+)'?\)")


def format_task(task: Any) -> Any:
    """A failed attempt's code stands where a completed one has its outcome."""
    found = _CODE.search(task.exception or "")
    if found:
        task.result = found[1]
    elif task.result:
        task.result = task.result.strip("'")
    return task
