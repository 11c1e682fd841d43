"""The way of an option, as its chart draws it; and names as people write them."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from dashboard import paths as room
from dashboard.paths import COLUMNS, Paths
from dashboard.view import look
from edges.inbox import Inbox
from replay import past as maker
from tests.dashboard.conftest import Lived
from tests.kit.deskbench import DAY, Bench
from utils import contract_name


def followed(bench: Bench, paths: Paths) -> None:
    paths.look(look(bench.desk, Inbox(), 0, bench.now))


def test_it_begins_with_the_buy_goes_second_by_second_and_ends_with_the_exit() -> None:
    bench = Bench().bought()
    paths = Paths(bench.config)
    followed(bench, paths)
    opened = int(bench.now)
    for bid in (560, 570, 570):
        bench.tick(1.0)
        bench.quote(bid, bid + 10)
        followed(bench, paths)
        followed(bench, paths)
    newest = paths.newest()
    assert newest is not None
    assert newest == ["20261120-1", opened + 3, 0.57, 0.58, 0.575, 0.4335, 0.4025, 0.46, 0.575]
    bench.tick(1.0)
    bench.quote(390, 410)
    bench.tick(1.0)
    followed(bench, paths)
    assert bench.phase == "Flat"
    assert paths.newest() is None
    found = paths.of("20261120-1")
    assert found is not None
    assert tuple(found) == COLUMNS
    assert found["t"] == sorted({*found["t"]}, key=float)  # type: ignore[arg-type]
    assert (found["bid"][-1], found["ask"][-1]) == (0.39, 0.41)
    assert found["mark"][1:4] == [0.565, 0.575, 0.575]
    assert paths.of("20261120-9") is None


def test_no_more_is_kept_than_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "TRADES_KEPT", 2)
    monkeypatch.setattr(room, "POINTS_MAX", 3)
    bench = Bench(ENTRY_COOLDOWN_SECONDS="0").bought()
    paths = Paths(bench.config)
    for _ in range(3):
        followed(bench, paths)
        for bid in (560, 570, 560, 570, 560):
            bench.tick(1)
            bench.quote(bid, bid + 10)
            followed(bench, paths)
        bench.quote(390, 410)
        bench.tick(1)
        followed(bench, paths)
        bench.tick(60)
        bench.surge()
    assert list(paths.all()) == ["20261120-2", "20261120-3"]
    assert max(len(columns["t"]) for columns in paths.all().values()) == 3


def test_a_past_day_has_the_way_of_each_option(lived: Lived, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(lived.config.data_dir / "tape", tmp_path / "tape")
    made = maker.make(tmp_path, DAY, maker.Share(1.0))
    index = json.loads(gzip.decompress((made / "index.json.gz").read_bytes()))
    [columns] = index["paths"].values()
    assert [bid for bid in columns["bid"] if bid in (0.6, 0.62, 0.48, 0.38)] == [0.6, 0.62, 0.48, 0.38]
    assert columns["stop"][0] == 0.4335


@pytest.mark.parametrize(
    ("ticker", "name"),
    [
        ("O:IWM261120C00226000", "IWM 226C 20 Nov"),
        ("IWM261204P00226500", "IWM 226.5P 4 Dec"),
        ("O:IWM269920C00226000", "O:IWM269920C00226000"),
        ("nonsense", "nonsense"),
        ("", ""),
    ],
)
def test_a_contract_is_named_as_people_name_it(ticker: str, name: str) -> None:
    assert contract_name(ticker) == name
