"""A tenant's searchable index: immutable segments, which hold of up to 65 536 chunks what a ranking must read.

An ingestion adds a small one in the transaction that adds its chunks; merges make few large ones of many small ones.
What is deleted or replaced stays in its segment until a merge: a search asks PostgreSQL which candidates are live.
docs/adr/0024 says why. Import from the modules: they bring numpy.
"""
