"""What the measured processes run. Peers import the tally too: standard library only there."""
