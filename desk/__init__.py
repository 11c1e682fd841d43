"""The one decider: what came in, who hears it, one commit. It reads no clock, socket or file."""
