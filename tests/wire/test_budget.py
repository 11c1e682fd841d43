"""What an exit needs never waits; what is not urgent leaves it its part."""

from __future__ import annotations

import threading

from wire.budget import Budget


def test_what_is_not_urgent_leaves_the_part_that_is_kept_for_exits() -> None:
    budget = Budget(per_second=0.001, burst=30.0, kept=20.0)
    assert sum(budget.take(urgent=False, patience_s=0.0) for _ in range(50)) == 10
    assert all(budget.take(urgent=True, patience_s=0.0) for _ in range(50))


def test_who_waits_gets_a_place_as_soon_as_there_is_one() -> None:
    budget = Budget(per_second=200.0, burst=21.0, kept=20.0)
    assert budget.take(urgent=False, patience_s=0.0)
    assert not budget.take(urgent=False, patience_s=0.0)
    assert budget.take(urgent=False, patience_s=10.0)


def test_an_urgent_one_passes_those_that_wait() -> None:
    budget = Budget(per_second=0.001, burst=20.0, kept=20.0)
    waiter = threading.Thread(target=budget.take, kwargs={"urgent": False, "patience_s": 30.0}, daemon=True)
    waiter.start()
    assert budget.take(urgent=True, patience_s=0.0)
    assert waiter.is_alive()
