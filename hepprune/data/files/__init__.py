"""Files of jets of every format, read in chunks; what is missing or damaged is refused by name."""
