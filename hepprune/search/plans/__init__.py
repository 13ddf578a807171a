"""Plans for models that are trained already: one option for each layer, so that a budget holds."""
