"""The six-condition momentum scalper: what it decides. It knows no other strategy."""
