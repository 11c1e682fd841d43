"""Interactive Brokers through ib_async: loaded only where a strategy that is on asks for it."""
