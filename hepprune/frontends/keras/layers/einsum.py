"""EinsumDense of Keras: a kernel contracted with a value along any axes, as a dense layer between moves of the axes."""

from collections.abc import Mapping

import torch

from hepprune.errors import explained
from hepprune.frontends.keras.layers.activations import activated
from hepprune.frontends.keras.layers.contraction import Contraction, contraction
from hepprune.frontends.keras.registry import Native, Parts, after, register, single
from hepprune.network import Conv, Dense, Layer, Permute, Reshape, Shape, Weighted


def einsum_dense(native: Native, _arriving: tuple[Shape, ...]) -> Parts:
    """Return the kernel of an EinsumDense and what moves the axes around it, without its activation."""
    axes = contraction(native)
    order, left = axes.free + axes.shared + axes.summed, axes.free + axes.neurons
    parts = moved(native, [], "front", [axes.reads.index(c) for c in order])
    places = (axes.size(axes.free),) if axes.shared else axes.shape(axes.free)
    parts = shaped(native, parts, "flat", axes.shape(order), (*places, axes.size(axes.shared + axes.summed)))
    parts = after(parts, _kernel(native, axes))
    parts = shaped(native, parts, "split", (*places, axes.size(axes.neurons)), axes.shape(left))
    return moved(native, parts, "back", [left.index(c) for c in axes.puts])


def moved(native: Native, parts: Parts, suffix: str, order: list[int]) -> Parts:
    """Return the parts with the axes brought into another order."""
    same = order == list(range(len(order)))
    return after(parts, None if same else Permute(native.part(suffix), tuple(order)))


def shaped(native: Native, parts: Parts, suffix: str, before: Shape, target: Shape) -> Parts:
    """Return the parts with what they put out in another shape."""
    return after(parts, None if before == target else Reshape(native.part(suffix), target))


def _kernel(native: Native, axes: Contraction) -> Weighted:
    """Return the layer with the kernel: grouped over the shared axes, where there are any."""
    shapes = [axes.shape(axes.kernel), *([axes.bias_shape] if axes.biased else [])]
    kernel, *biases = (array.numpy() for array in native.expect(*shapes))
    weight, n_out = single(torch.as_tensor(axes.rows(kernel))), axes.size(axes.neurons)
    bias = single(torch.as_tensor(axes.bias_rows(biases[0]))) if biases else torch.zeros(n_out)
    if axes.shared:
        return Conv(native.name, weight, bias, groups=axes.size(axes.shared))
    return Dense(native.name, weight, bias)


def now(native: Native, layer: Layer) -> Contraction:
    """Return what a native layer contracts, with the sizes that its layer in the network has now.

    Raises:
        NetworkError: a part of several axes at once was removed.
    """
    if not isinstance(layer, Weighted):
        raise native.refuse(f"cannot hold a {type(layer).__name__}")
    groups = layer.groups if isinstance(layer, Conv) else 1
    axes = contraction(native).resized(layer.n_out, layer.weight[0].numel(), groups)
    if axes is None:
        raise native.refuse("would keep a part of several axes at once, which its kernel cannot")
    return axes


def fill_einsum_dense(native: Native, layers: Mapping[str, Layer]) -> Native:
    """Return the native layer with the kernel, bias and sizes the network has now."""
    layer = layers[native.name]
    state = {key: value.double().numpy() for key, value in layer.state_dict().items()}
    if not native.config.get("bias_axes") and state["bias"].any():
        native = native.filled(bias_axes=now(native, layer).neurons)
    axes = now(native, layer)
    with explained(native.refuse, "has one bias for several that the network has", ValueError):
        bias = [axes.bias_columns(state["bias"])] if axes.biased else []
    before = native.config.get("output_shape")
    listed = list(before) if isinstance(before, list | tuple) else [before]
    named = [native.part("back"), native.part("split"), native.name]
    shape = next((native.shapes[name] for name in named if name in native.shapes), axes.shape(axes.puts))
    sizes = [None if old is None else size for old, size in zip(listed, shape[-len(listed) :], strict=True)]
    output_shape = sizes if isinstance(before, list | tuple) else sizes[0]
    return native.filled([axes.columns(state["weight"]), *bias], output_shape=output_shape)


register("EinsumDense", fill=fill_einsum_dense)(activated(einsum_dense))
