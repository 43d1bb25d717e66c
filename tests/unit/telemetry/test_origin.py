"""Where calls come from."""

from __future__ import annotations

import threading

from aragora_cp.telemetry.origin import Origin, called_by, present


def test_an_origin_ends_with_its_call_and_stays_in_its_thread() -> None:
    seen = []
    with called_by(Origin("a")):
        thread = threading.Thread(target=lambda: seen.append(present()))
        thread.start()
        thread.join()
        assert present().actor == "a"
    assert [present(), *seen] == [Origin(), Origin()]
    assert str(Origin("a\nb", "c", "d\n")) == "a b\nc\nd "
