"""Which layers can give, and how much to take from each until a budget holds."""
