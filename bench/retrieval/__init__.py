"""Finding passages under measurement: tenants full of texts, true rankings beside ours, a judged collection."""
