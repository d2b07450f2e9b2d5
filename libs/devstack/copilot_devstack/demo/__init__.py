"""`copilot demo`: the product's main job on real documents, shown and checked, on a stack that is thrown away."""
