"""What moves together in a network: groups of coupled units, blocks, constants, and their exact removal."""
