"""From what came in to what searches find: fetched, read, cut, embedded, indexed. Import from the modules: they bring
libraries that the API does without."""
