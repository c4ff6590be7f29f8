"""How networks run faster without changing what they compute: compiled, packed, stacked."""
