"""QKeras (Coelho et al., arXiv:2006.10159): quantisers of weights and values, and the layers that have them."""
