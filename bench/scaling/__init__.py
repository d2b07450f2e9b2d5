"""A day of autoscaling, computed: Kubernetes' algorithm with the charts' values, on rates and bursts that were measured.

`python -m bench.scaling` computes it and draws it; `python -m bench.scaling record` records the bursts anew.
"""
