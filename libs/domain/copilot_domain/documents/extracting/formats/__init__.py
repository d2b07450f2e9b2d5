"""One module a format: `read(data, source, draft)` writes what it finds into the draft, or raises DocumentError."""
