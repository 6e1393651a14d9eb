"""What the library costs, beside its peers: `make bench`.

Every row measures us and a peer in the same run, in rounds that take turns, since absolute figures move by half from
hour to hour on a shared machine and only ratios inside one run mean anything.
"""
