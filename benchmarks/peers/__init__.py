"""The peers' side: what their processes run, with nothing of ours but the tally."""
