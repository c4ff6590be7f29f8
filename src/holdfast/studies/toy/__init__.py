"""Two learners with the same mean error on a scalar system: one diverges, one does not."""
