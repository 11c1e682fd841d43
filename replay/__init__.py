"""The same desk fed from files: tapes of live days, recorded or modelled sessions, sweeps and what they are worth."""
