"""How long the sockets bear silence and failure: the stream's own loop in virtual time, over hours of market."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from msgspec.structs import replace

from config import Config
from desk import sight
from desk.market import Market
from desk.state import DESK, Held, Own, Sheet, State, Turn
from edges.stream import StocksSocket
from events import BarClosed, FeedConnected, FeedDropped, FeedRefused
from simulator.market import date_of_bars, load_bars, read_bars
from tests.kit.books import a_position
from tests.kit.deskbench import KEYS
from tests.kit.ears import Ears
from tests.kit.feed import bar, status, text
from tests.kit.still_feed import World
from utils import Session, SessionCalendar
from wire.connection import CLOSE, Denied, Dropped

SECONDS = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "seconds"
OPEN = 1_795_185_000  # 2026-11-20 09:30 New York
TOO_MANY = (
    [(1, text(status("max_connections", "Maximum number of websocket connections exceeded."))), (CLOSE, b"\x03\xf0")]
)  # fmt: skip


def each_second(start: int, end: int, *halts: tuple[int, int]) -> Iterator[tuple[float, bytes]]:
    """A frame a second for IWM and SPY, two seconds after its end, none for the seconds of the halts."""
    for second in range(start, end):
        if not any(first <= second < last for first, last in halts):
            yield second + 3.0, text(bar("SPY", second, 600.0), bar("IWM", second))


def live(world: World, seconds: float, patch: pytest.MonkeyPatch, *, in_hours: object = None) -> Ears:
    ears = Ears()
    watching = in_hours or (lambda: True)
    world.run(StocksSocket(ears, Config.from_env(KEYS), world, watching), world.at + seconds, patch)  # type: ignore[arg-type]
    return ears


def last_bar_before(ears: Ears, at: float) -> float:
    times = [event.at for event in ears.of(BarClosed)]
    return times[bisect_right(times, at) - 1]


# --- silence -----------------------------------------------------------------------------------------------------------


@pytest.mark.fault("W07")
def test_a_half_open_socket_is_replaced_within_eight_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(OPEN, each_second(OPEN - 60, OPEN + 300))
    world.dead_at = OPEN + 60.5
    ears = live(world, 120, monkeypatch)
    lost = last_bar_before(ears, world.dead_at)
    again = ears.of(FeedConnected)[1]
    assert 7.0 <= again.at - lost <= 8.0
    assert [dropped.reason for dropped in ears.of(FeedDropped)] == ["the connection is dead: no answer to a ping in 2 s"]
    assert ears.of(BarClosed)[-1].at > world.dead_at + 50


@pytest.mark.fault("W06", "A5")
def test_a_stall_behind_good_pongs_is_replaced_within_thirteen_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(OPEN, each_second(OPEN - 60, OPEN + 300))
    world.stall_at = OPEN + 60.5
    ears = live(world, 120, monkeypatch)
    lost = last_bar_before(ears, world.stall_at)
    assert 12.0 <= ears.of(FeedConnected)[1].at - lost <= 13.0
    assert 5.0 <= world.pings[0] - lost <= 5.5
    assert ears.of(BarClosed)[-1].at > world.stall_at + 50


@pytest.mark.fault("W06", "A5")
def test_statuses_and_pongs_are_no_data(monkeypatch: pytest.MonkeyPatch) -> None:
    chatter = ((OPEN + index / 2, text(status("info", "all is well"))) for index in range(1000))
    world = World(OPEN, chatter)
    ears = live(world, 60, monkeypatch)
    assert ears.of(FeedDropped)[0].at - ears.of(FeedConnected)[0].at <= 12.5


@pytest.mark.fault("W28")
def test_a_halt_of_six_minutes_is_no_storm_of_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(OPEN, each_second(OPEN - 60, OPEN + 900, (OPEN + 120, OPEN + 480)))
    ears = live(world, 800, monkeypatch)
    during = [at for at in world.opened if OPEN + 120 <= at < OPEN + 483]
    assert 1 <= len(during) <= 9
    assert min(later - earlier for earlier, later in pairwise(during)) >= 12
    assert during[-1] - during[-2] >= 40
    back = next(event.at for event in ears.of(BarClosed) if event.at > OPEN + 200)
    assert back == pytest.approx(OPEN + 483, abs=1.0)
    assert not [at for at in world.opened if at > OPEN + 483]


@pytest.mark.fault("W28")
def test_after_a_halt_patience_is_short_again(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(OPEN, each_second(OPEN - 60, OPEN + 900, (OPEN + 120, OPEN + 480)))
    world.stall_at = OPEN + 600.5
    ears = live(world, 800, monkeypatch)
    lost = last_bar_before(ears, world.stall_at)
    assert next(event.at for event in ears.of(FeedConnected) if event.at > lost) - lost <= 13.0


def test_silence_before_the_open_means_nothing_and_counts_from_the_open(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(OPEN - 1800, each_second(OPEN + 1, OPEN + 300))
    ears = live(world, 2000, monkeypatch, in_hours=lambda: world.at >= OPEN)
    assert len(world.opened) == 1
    assert len(ears.of(BarClosed)) > 300
    assert all(25 <= later - earlier <= 26 for earlier, later in pairwise(world.pings))


def test_a_dead_wire_is_noticed_before_the_open_too(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(OPEN - 1800)
    world.dead_at = OPEN - 1000
    live(world, 1000, monkeypatch, in_hours=lambda: False)
    assert len(world.opened) == 2
    assert world.opened[1] - world.dead_at <= 40


@pytest.mark.fault("A7", "A8", "W18")
@pytest.mark.skipif(not SECONDS.exists(), reason="the recorded seconds are not beside this checkout")
def test_on_three_real_sessions_there_is_at_most_one_needless_reconnect_and_no_false_blindness(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reconnects, blind, holes = 0, 0, 0
    for path in sorted(SECONDS.glob("SPY_*.csv.gz")):
        day = date_of_bars(read_bars(path))
        session = SessionCalendar(day).on(day)
        assert session is not None
        deliveries = [one for one in load_bars(path, session, seed=7).deliveries() if one.at >= session.open_at - 60]
        frames = ((one.at, text(of(one.bar))) for one in deliveries)
        world = World(session.open_at, frames)
        ears = live(world, session.close_at - session.open_at, monkeypatch)
        reconnects += len(world.opened) - 1
        own = [event.at for event in ears.of(BarClosed) if event.bar.symbol == "IWM"]
        holes += sum(later - earlier >= 5 for earlier, later in pairwise(own))
        blind += len(blindness(ears, session))
    assert holes > 100
    assert reconnects <= 1
    assert blind == 0


def of(one: object) -> dict[str, object]:
    return bar(
        one.symbol,
        one.start,
        one.close,
        int(one.volume),
        o=one.open,
        h=one.high,
        l=one.low,
        vw=one.vwap,  # type: ignore[attr-defined]
    )


def blindness(ears: Ears, session: Session) -> list[str]:
    """What the desk would say of being blind, at every half second of a position held from 09:31 on with a quote every second."""
    config = Config.from_env(KEYS)
    market, found = Market((config.symbol, config.leader, *config.heartbeat_symbols), (config.symbol,)), []
    market.new_day(session)
    held = Held("vwap", a_position(), since=session.open_at + 60.0)
    bars = iter(ears.of(BarClosed))
    coming = next(bars, None)
    for half in range(120, 2 * (session.close_at - session.open_at)):
        at = session.open_at + half / 2
        while coming is not None and coming.at <= at:
            market.take_bar(coming)
            coming = next(bars, None)
        turn = Turn(config, Sheet(State(session=session), {}), at, DESK, Own(None))
        why = sight.blindness(turn, market, replace(held, quote_at=at))
        found += [why] if why else []
    return found


# --- failure -----------------------------------------------------------------------------------------------------------


@pytest.mark.fault("W01")
def test_a_server_that_is_away_is_tried_ever_later_at_most_thirty_seconds_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(OPEN, each_second(OPEN, OPEN + 1200))
    world.down = (OPEN, OPEN + 600)
    ears = live(world, 700, monkeypatch)
    gaps = [later - earlier for earlier, later in pairwise(world.tried)]
    assert gaps[0] < 1
    assert max(gaps) <= 32
    assert sum(gaps[-5:]) / 5 >= 15
    assert len(world.tried) < 45
    assert len(ears.of(FeedDropped)) == len(world.tried) - 1
    assert ears.of(BarClosed)


@pytest.mark.fault("W01")
def test_the_pauses_of_two_workers_are_not_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses = []
    for _ in range(2):
        world = World(OPEN)
        world.down = (OPEN, OPEN + 600)
        pauses.append([dropped.retry_in_s for dropped in live(world, 100, monkeypatch).of(FeedDropped)])
    assert pauses[0] != pauses[1]


@pytest.mark.fault("W27")
def test_a_server_that_accepts_and_closes_at_once_is_tried_once_a_minute_after_five(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(OPEN)
    world.after_login = [(CLOSE, (1001).to_bytes(2, "big") + b"going away")]
    ears = live(world, 1800, monkeypatch)
    late = [later - earlier for earlier, later in pairwise(world.opened)][5:]
    assert min(late) >= 55
    assert len(world.opened) <= 40
    assert "1001: going away" in ears.of(FeedDropped)[0].reason


@pytest.mark.fault("W09", "A1", "A2")
def test_a_key_that_another_process_uses_is_tried_at_most_once_a_minute_and_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(OPEN)
    world.after_login = TOO_MANY
    ears = live(world, 900, monkeypatch)
    assert min(later - earlier for earlier, later in pairwise(world.opened)) >= 60
    assert len(world.opened) >= 12
    assert all(refused.busy and "another process uses this key" in refused.reason for refused in ears.of(FeedRefused))


@pytest.mark.fault("W09")
def test_only_ten_seconds_of_data_forgive_earlier_failures(monkeypatch: pytest.MonkeyPatch) -> None:
    def pauses(data_s: int) -> list[float]:
        world = World(OPEN, each_second(OPEN - 10, OPEN + 3000))
        ears = Ears()
        subject = StocksSocket(ears, Config.from_env(KEYS), world, lambda: True)
        genuine = subject.take

        def take(frame: object, now: float) -> int:
            if now - world.opened[-1] > data_s:
                raise Dropped("the server closed the connection")
            return genuine(frame, now)  # type: ignore[arg-type]

        monkeypatch.setattr(subject, "take", take)
        world.run(subject, OPEN + 400, monkeypatch)
        return [dropped.retry_in_s for dropped in ears.of(FeedDropped)]

    assert max(pauses(15)) <= 0.5
    assert max(pauses(4)) >= 60


@pytest.mark.fault("W03")
@pytest.mark.parametrize("denied", [Denied("the key is not accepted"), Denied("the server refuses the connection (403)")])
def test_a_refused_key_is_asked_about_a_few_times_an_hour(monkeypatch: pytest.MonkeyPatch, denied: Denied) -> None:
    world = World(OPEN)
    world.upset_forever = denied
    ears = live(world, 3600, monkeypatch)
    assert 2 <= len(world.tried) <= 13
    assert {refused.reason for refused in ears.of(FeedRefused)} == {denied.reason}
    assert not ears.of(FeedDropped)


@pytest.mark.fault("W02")
def test_a_server_that_says_when_to_come_again_is_obeyed(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(OPEN)
    world.upset = [Dropped("the server answers 429 instead of a WebSocket", 75.0)]
    live(world, 100, monkeypatch)
    assert world.tried[1] - world.tried[0] >= 75
