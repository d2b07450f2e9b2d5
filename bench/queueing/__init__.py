"""The ledger and its workers under measurement: a worker process whose jobs do nothing, and who gives it work."""
