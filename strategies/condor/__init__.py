"""The iron condor of one day on an index: four legs sold as one package, and left as one."""
