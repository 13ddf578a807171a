"""HGQ 1 and 2 (arXiv:2405.00645): a trained bit width for every weight and every value, and tables for edges."""
