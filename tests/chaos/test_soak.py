"""A long life: what days of faults leave behind in the one process that lived through them.

SOAK=N plays N whole sessions (`make soak`: seven, some thirteen minutes); else two brief ones are played.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.chaos.soak import Soak

SESSIONS = int(os.environ.get("SOAK", "0"))
SEED = 7  # with a signal in the first quarter of an hour of the first two days


@pytest.mark.fault("X16")
@pytest.mark.process
@pytest.mark.timeout(120 + 300 * SESSIONS)
def test_descriptors_and_threads_are_back_at_the_first_evenings_and_memory_log_and_ledger_are_bounded(
    tmp_path: Path,
) -> None:
    with Soak(tmp_path / "market", SEED, brief=not SESSIONS) as soak:
        soak.live(SESSIONS or 2)
        print(f"\n{soak.table()}")
        faults = soak.faults()
    assert not faults, "\n".join(faults)
