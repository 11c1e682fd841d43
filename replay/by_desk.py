"""Sessions by the desk itself, for what the compiled path does not know: recorded option quotes.

A task is one session under every try, as in a sweep; but the desk is Python, so that tasks are processes and not threads.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

from joblib import delayed, parallel_config

import risk_manager
from events import Trade
from pnl_tracker import profit
from replay import paths, setting, store
from replay.quotes import quotes_of
from replay.sweep import Try, cluster, gathered
from replay.world import Options, Sat
from utils import Session

CENT = 10
ALONE = 4  # so few sessions are done before other processes have begun
OTHER_FILLS = "other fills of recorded quotes: the same entries and exits at other prices"


# --- many sessions under many settings ---------------------------------------------------------------------------------


class Done(NamedTuple):
    """A session's result under each try, and what its quotes assume."""

    results: list[paths.Result]
    assumed: list[str]


def of_session(
    source: store.Source, session: Session, tries: Sequence[Try], span: tuple[date, date], recorded: Path | None
) -> Done:
    """One session under every try; what differs in its fills alone is lived through once."""
    calendar = store.calendar_between(*span)
    day = source.day(session, calendar)
    markets: dict[int, Options] = {}
    lived: dict[str, Sat] = {}
    results = []
    for one in tries:
        config = setting.config_of(one.settings)
        market = markets.get(config.min_open_interest) or quotes_of(day, config, recorded)
        markets[config.min_open_interest] = market
        key = f"{one.delay_s} {config.non_defaults()}"
        if key not in lived:
            lived[key] = paths.live_through(config, calendar, day, one.delay_s, quotes=market)
        results.append(filled(paths.result_of(lived[key], market.kind), lived[key].trades, one.fill))
    return Done(results, next(iter(markets.values())).assumed)


def filled(result: paths.Result, trades: Sequence[Trade], fill: str) -> paths.Result:
    """The same trades as if filled otherwise: at mid, or a tick worse on both sides."""
    if fill == "as ruled":
        return result
    told = []
    for closed, trade in zip(result.trades, trades, strict=True):
        if fill == "mid":
            entry = risk_manager.mid(trade.entry_quote) or closed.entry
            mark = None if trade.exit_quote is None else risk_manager.mark(trade.exit_quote)
            exit_ = closed.exit if mark is None else mark
        else:
            entry, exit_ = closed.entry + CENT, max(closed.exit - CENT, 0)
        told.append(closed._replace(entry=entry, exit=exit_, pnl=profit(entry, exit_, trade.fees)))
    return result._replace(trades=tuple(told))


def results(
    source: store.Source,
    sessions: Sequence[Session],
    tries: Sequence[Try],
    recorded: dict[date, Path],
    address: str | None = None,
) -> list[Done]:
    """What became of each session under each try, by processes of this machine or on a cluster."""
    if not sessions:
        return []
    span = (sessions[0].date, sessions[-1].date)
    tasks = [delayed(of_session)(source, session, tries, span, recorded.get(session.date)) for session in sessions]
    alone = len(sessions) < ALONE
    here = nullcontext(parallel_config(backend="loky", n_jobs=1 if alone else -1))
    where: AbstractContextManager[Any] = here if address is None else cluster(address)
    with where as backend, backend:
        return gathered(tasks, address, "the desk", len(sessions))
