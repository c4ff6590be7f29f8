"""Study noise-grid."""
