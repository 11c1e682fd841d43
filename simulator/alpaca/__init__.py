"""A trading venue on loopback that speaks as Alpaca does: REST, `trade_updates`, and every fault by name. See docs/venues.md."""
