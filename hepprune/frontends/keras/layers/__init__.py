"""Layers of Keras itself, each as the layers of a Network that compute the same; all are in `registry.LAYERS`."""
