"""Wrong, learned, scaled, delayed or no gains: how good the synthesis must be."""
