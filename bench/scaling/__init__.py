"""A day of autoscaling, computed: Kubernetes' algorithm with the charts' values, on measured rates and recorded bursts.

`python -m bench.scaling` computes it and draws it; `python -m bench.scaling record` records the bursts anew.
"""
