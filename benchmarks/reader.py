"""The reader: one-bar frames a second from a loopback socket through parse, check and queue, on one core.

The sender is another process and writes as fast as the wire takes it, so what is measured is the stocks socket's own thread: the
real `StocksSocket` into the real `Inbox`, which nobody empties meanwhile. `python -m benchmarks.reader`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode
from websockets.sync.server import ServerConnection, serve

from benchmarks.figures import Figure
from config import Config
from edges.inbox import Inbox
from edges.stream import StocksSocket
from utils import SystemClock

FRAMES, ROUNDS = 60_000, 3
SYMBOLS = ("IWM", "SPY", "QQQ", "AAPL", "NVDA")
KEYS = {"POLYGON_API_KEY": "k" * 32, "PUSHOVER_TOKEN": "a" * 30, "PUSHOVER_USER_KEY": "u" * 30}
TARGET = 40_000


def one_bar(symbol: str, start: int, index: int) -> bytes:
    """A frame's text as the live feed writes it, about 250 bytes."""
    price = round(220 + index % 500 / 100, 2)
    event = {
        "ev": "A", "sym": symbol, "v": 1200 + index, "av": 8_642_007, "op": 219.66, "vw": price, "o": price, "c": price,
        "h": round(price + 0.02, 2), "l": round(price - 0.02, 2), "a": 220.3714, "z": 57, "s": start * 1000,
        "e": start * 1000 + 1000, "dv": f"{1200 + index}.0", "dav": "4332125.038360",
    }  # fmt: skip
    return msgspec.json.encode([event])


def send(count: int) -> None:
    """The other process: a server that says its port, lets the first client in, and sends it everything at once."""
    first = int(time.time()) - count // len(SYMBOLS) - 10
    wire = b"".join(
        Frame(Opcode.TEXT, one_bar(SYMBOLS[index % 5], first + index // 5, index)).serialize(mask=False)
        for index in range(count)
    )

    def conversation(client: ServerConnection) -> None:
        client.send('[{"ev":"status","status":"connected","message":"Connected Successfully"}]')
        client.recv()
        client.send('[{"ev":"status","status":"auth_success","message":"authenticated"}]')
        topics = msgspec.json.decode(client.recv())["params"].split(",")
        said = [{"ev": "status", "status": "success", "message": f"subscribed to: {topic}"} for topic in topics]
        client.send(msgspec.json.encode(said).decode())
        client.socket.sendall(wire)
        with suppress(ConnectionClosed):
            client.recv()

    with serve(conversation, "127.0.0.1", 0, compression=None, ping_interval=None) as server:
        print(server.socket.getsockname()[1], flush=True)
        server.serve_forever()


def one_round(count: int = FRAMES) -> tuple[float, float]:
    """(frames a second of the clock on the wall, frames a second of processor) of one connection."""
    child = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.reader", "send", str(count)], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    inbox = Inbox(limit=2 * count)
    try:
        with TemporaryDirectory() as folder:
            url = f"ws://127.0.0.1:{int(child.stdout.readline())}/stocks"
            config = Config.from_env({**KEYS, "DATA_DIR": str(Path(folder)), "POLYGON_WS_URL": url})
            edge = StocksSocket(inbox.put, config, SystemClock(), lambda: True)
            edge.start()
            while len(inbox) < 2:  # FeedConnected, and the first bars
                time.sleep(0.0005)
            had, began, used = len(inbox), time.perf_counter(), time.process_time()
            while len(inbox) < count + 1:
                if not edge.is_alive or time.perf_counter() - began > 60:
                    raise RuntimeError(f"only {len(inbox)} of {count} frames came through")
                time.sleep(0.001)
            took, used = time.perf_counter() - began, time.process_time() - used
            edge.stop()
            edge.join(5.0)
    finally:
        child.terminate()
        child.wait()
    return (count + 1 - had) / took, (count + 1 - had) / used


def measure() -> list[Figure]:
    rounds = [one_round() for _ in range(ROUNDS)]
    wall, processor = max(rounds)
    note = f"best of {ROUNDS} × {FRAMES:,} frames, {os.cpu_count()} cores; {processor:,.0f} a second of processor"
    return [Figure("reader: one-bar frames", wall, "frames/s", at_least=TARGET, note=note)]


if __name__ == "__main__":
    if sys.argv[1:2] == ["send"]:
        send(int(sys.argv[2]))
    else:
        for figure in measure():
            print(f"{figure.name}: {figure.value:,.0f} {figure.unit} ({figure.note})")
