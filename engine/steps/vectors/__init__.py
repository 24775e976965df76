"""Vector stores: the step ``store_vectors``, and searching what it stored."""
