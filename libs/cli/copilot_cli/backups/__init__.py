"""Backups of the database: dumps, base backups with an archive of WAL, and how to get them back (ADR 32)."""
