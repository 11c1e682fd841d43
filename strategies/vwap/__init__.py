"""IWM-5-VWAP: the momentum of IWM's seconds, one 0DTE call at a time."""
