"""Studies: figures and tables of the seeds, measured again; each a function that returns values."""
