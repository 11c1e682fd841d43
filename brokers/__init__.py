"""The brokers. Each speaks one broker's protocol and decides nothing; none is loaded where no strategy asks for it."""
