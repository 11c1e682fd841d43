"""A TWS on loopback for the real client libraries: the text protocol, orders matched against a market, faults by name."""
