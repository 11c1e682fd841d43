"""What the log says of the signal and of its conditions. Pure."""

from __future__ import annotations

import alerts
from signals import Reading


def signal_line(symbol: str, reading: Reading) -> str:
    """`🚀 MOMENTUM SIGNAL: IWM $220.50 > VWAP $220.30 (+0.09%), Vol Z=2.8, Momentum=+0.087`."""
    vwap, z, momentum = reading.vwap_60, reading.volume_z, reading.slope_pct_s
    beside = "" if not vwap else f" > VWAP {alerts.stock(vwap)} ({100 * (reading.close / vwap - 1):+.2f}%)"
    return "🚀 MOMENTUM SIGNAL: " + alerts.joined(
        f"{symbol} {alerts.stock(reading.close)}{beside}",
        None if z is None else f"Vol Z={z:.1f}",
        None if momentum is None else f"Momentum={momentum:+.3f}",
        by=", ",
    )


def progress_lines(symbol: str, reading: Reading | None, volume: float, state: str = "active") -> tuple[str, ...]:
    """What the log shows each minute of the session; `volume` is the session's so far, in shares; `state` the feed's."""
    if reading is None:
        return (f"📊 Data feed: no bars of {symbol} yet",)
    vwap, z = reading.vwap_60, reading.volume_z
    gates = {gate.number: gate for gate in reading.gates}

    def said(number: int, form: str = "") -> str:
        gate = gates[number]
        if gate.off:
            return "off"
        return f"{gate.ok}" + (f" ({format(gate.value, form)})" if form and gate.value is not None else "")

    conditions = [
        f"Price>{'VWAP' if vwap is None else alerts.stock(vwap)}={said(1)}",
        f"VWAP↑={said(3)}",
        f"Vol surge={said(4)}" + ("" if z is None else f" (Z{z:.1f})"),
        "Momentum=" + ("unknown" if reading.slope_pct_s is None else f"{reading.slope_pct_s:+.3f}"),
        f"Price>VWAP5m={said(2)}",
        f"RelVol={said(6, '.1f')}",
        f"Not lagging SPY={said(7, '+.2f')}",
    ]
    feed = alerts.joined(
        f"{symbol} {alerts.stock(reading.close)}", None if vwap is None else f"VWAP {alerts.stock(vwap)}", by=", "
    )
    return (f"📊 Data feed {state}: {feed}, Vol {volume:,.0f}", "📈 Signal conditions: " + ", ".join(conditions))
