"""Alpaca: the forms of its answers, a client that sends nothing twice, and its stream of trade updates."""
