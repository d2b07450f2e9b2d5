"""How many runs of a workflow go on at once: `concurrency` of its definition.

A run asks for a slot when it is about to begin, and again whenever it is taken up: it holds one already, gets one that
is free, or waits for its turn, oldest first, with its job parked. Whoever ends wakes those whose turn has come.
"""
