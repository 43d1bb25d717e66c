"""The four priorities on each broker: on Redis the smallest number is served first, on RabbitMQ the largest."""

from __future__ import annotations

import pytest

from aragora_cp.engine.tickets import celery_priority, lane_queue
from aragora_cp.model import Priority


@pytest.mark.parametrize(("on_rabbitmq", "numbers"), [(False, [0, 3, 6, 9]), (True, [9, 6, 3, 0])])
def test_most_urgent_first(on_rabbitmq: bool, numbers: list[int]) -> None:
    assert [celery_priority(priority, on_rabbitmq=on_rabbitmq) for priority in Priority] == numbers


def test_rabbitmq_is_told_that_a_queue_has_priorities() -> None:
    assert lane_queue("shared.code", on_rabbitmq=True).max_priority == 9
    assert lane_queue("shared.code").max_priority is None
