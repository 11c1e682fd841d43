"""Health, metrics and the page: reads what the desk knows, speaks by putting an event into the inbox. The desk never needs it."""
