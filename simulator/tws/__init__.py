"""A TWS on loopback for the real client libraries: the text protocol, orders matched against a market, faults by name."""

from simulator.tws.contracts import Book, Greeks, Instrument, Leg, Quote
from simulator.tws.venue import Venue

__all__ = ["Book", "Greeks", "Instrument", "Leg", "Quote", "Venue"]
