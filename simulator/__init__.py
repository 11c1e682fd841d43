"""A market on loopback: sessions, an option chain, and servers shaped like Massive's and Pushover's."""
