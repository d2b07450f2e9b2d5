"""Collections: items put together, with an access list of their own that counts besides each item's."""
