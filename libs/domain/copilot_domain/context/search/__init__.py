"""Finding passages: by their words (BM25), by their meaning (vectors), or by both. Import from the modules: they bring
numpy."""
