"""The speed of what a user feels, measured against the issue's targets and against a peer, in one run on one machine.

python -m bench                 everything, about seven minutes
python -m bench --quick         short rounds: a look, not a result
python -m bench --only plain    one measure (see `bench.measures`)
python -m bench peers           install the peers, into bench/.peers-venv
"""
