"""Reports: what can be reported on, for which time, and the figures (requirements A42 to A44)."""
