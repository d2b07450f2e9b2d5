"""What an operator does against the database, as copilot_owner."""
