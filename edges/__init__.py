"""The edge threads: they make events and carry actions out; none of them decides."""
