"""The layers a Network is made of: torch modules that know their quantisers and their hls4ml knobs."""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from hepprune import digits
from hepprune.errors import NetworkError
from hepprune.fixed import FixedPoint
from hepprune.network import quantise

_RESERVED = frozenset(dir(nn.ModuleDict()))  # names that torch refuses for a child


class Layer(nn.Module):
    """One node of a Network: a name, and the fixed-point type of its result (None keeps full precision)."""

    is_head: ClassVar[bool] = False

    def __init__(self, name: str, result: FixedPoint | None = None) -> None:
        super().__init__()
        if not name.isidentifier():
            raise NetworkError(f"layer name '{name}' is no identifier; firmware needs letters, digits and underscores")
        if name in _RESERVED:
            raise NetworkError(f"layer name '{name}' is taken by torch; choose another")
        self.name = name
        self.result = result

    def compute(self, values: Tensor, *, quantised: bool) -> Tensor:
        """Return the layer's value before its result quantiser, (n_jets, n_out)."""
        raise TypeError(f"{type(self).__name__} does not compute")

    def forward(self, values: Tensor, *, quantised: bool = True) -> Tensor:
        """Return the layer's value, under its quantisers or in float."""
        values = self.compute(values, quantised=quantised)
        return quantise.activations(values, self.result) if quantised and self.result else values

    def width(self, n_in: int) -> int:
        """Return the number of values the layer puts out for `n_in` that come in."""
        return n_in

    def settings(self) -> dict[str, Any]:
        """Return what the constructor takes besides arrays, as JSON values."""
        return {"name": self.name, "result": str(self.result) if self.result else None}


class Input(Layer):
    """The features as the firmware receives them; its result type is the input precision."""

    def __init__(self, name: str, n_features: int, result: FixedPoint | None = None) -> None:
        super().__init__(name, result)
        self.n_features = n_features

    def compute(self, values: Tensor, *, quantised: bool) -> Tensor:
        """Return the features as they are."""
        return values

    def settings(self) -> dict[str, Any]:
        """Return the constructor's JSON values."""
        return super().settings() | {"n_features": self.n_features}


class Dense(Layer):
    """`weight @ x + bias`, weight (n_out, n_in); a weight has at most `digit_limit` signed digits, 0 is pruned."""

    digit_limit: Tensor

    def __init__(
        self,
        name: str,
        weight: Tensor,
        bias: Tensor,
        *,
        weight_type: FixedPoint | None = None,
        bias_type: FixedPoint | None = None,
        digit_limit: Tensor | None = None,
        result: FixedPoint | None = None,
        strategy: str = "distributed_arithmetic",
        reuse_factor: int = 1,
    ) -> None:
        super().__init__(name, result)
        if weight.ndim != 2 or bias.shape != weight.shape[:1]:
            raise NetworkError(f"layer '{name}': weight {tuple(weight.shape)} and bias {tuple(bias.shape)} do not fit")
        self.weight, self.bias = nn.Parameter(weight.detach().clone()), nn.Parameter(bias.detach().clone())
        self.weight_type, self.bias_type = weight_type, bias_type
        limit = torch.full_like(weight, digits.UNLIMITED, dtype=torch.uint8) if digit_limit is None else digit_limit
        if limit.shape != weight.shape:
            raise NetworkError(f"layer '{name}': a digit limit of shape {tuple(limit.shape)} does not fit its weight")
        self.register_buffer("digit_limit", limit.detach().clone())
        self.strategy, self.reuse_factor = strategy, reuse_factor

    @property
    def n_in(self) -> int:
        """Values that come in."""
        return self.weight.shape[1]

    @property
    def n_out(self) -> int:
        """Neurons."""
        return self.weight.shape[0]

    def width(self, n_in: int) -> int:
        """Return the number of neurons, and refuse what does not fit."""
        if n_in != self.n_in:
            raise NetworkError(f"layer '{self.name}' takes {self.n_in} values and is given {n_in}")
        return self.n_out

    def used_weight(self, *, quantised: bool = True) -> Tensor:
        """Return the weights that act, pruned ones zero, (n_out, n_in)."""
        if quantised and self.weight_type:
            return quantise.weights(self.weight, self.weight_type, self.digit_limit)
        return self.weight * (self.digit_limit > 0)

    def used_bias(self, *, quantised: bool = True) -> Tensor:
        """Return the biases that act, (n_out,)."""
        return quantise.activations(self.bias, self.bias_type) if quantised and self.bias_type else self.bias

    def compute(self, values: Tensor, *, quantised: bool) -> Tensor:
        """Return weight @ values + bias, (n_jets, n_out)."""
        return nn.functional.linear(values, self.used_weight(quantised=quantised), self.used_bias(quantised=quantised))

    def settings(self) -> dict[str, Any]:
        """Return the constructor's JSON values."""
        types = {"weight_type": self.weight_type, "bias_type": self.bias_type}
        texts = {key: str(kind) if kind else None for key, kind in types.items()}
        return super().settings() | texts | {"strategy": self.strategy, "reuse_factor": self.reuse_factor}


class ReLU(Layer):
    """max(x, 0)."""

    def compute(self, values: Tensor, *, quantised: bool) -> Tensor:
        """Return the positive part."""
        return torch.relu(values)


class BatchNorm(Layer):
    """The affine map `scale * x + shift` that batch normalisation is at inference; fold it before quantising."""

    def __init__(self, name: str, scale: Tensor, shift: Tensor, *, result: FixedPoint | None = None) -> None:
        super().__init__(name, result)
        self.scale, self.shift = nn.Parameter(scale.detach().clone()), nn.Parameter(shift.detach().clone())

    @classmethod
    def from_torch(cls, name: str, module: nn.BatchNorm1d) -> "BatchNorm":
        """Read the running statistics and the affine parameters of a torch module."""
        if module.running_mean is None or module.running_var is None:
            raise NetworkError(f"layer '{name}' keeps no running statistics, so it has no fixed form at inference")
        scale = (module.weight if module.affine else 1.0) / torch.sqrt(module.running_var + module.eps)
        return cls(name, scale, (module.bias if module.affine else 0.0) - module.running_mean * scale)

    def compute(self, values: Tensor, *, quantised: bool) -> Tensor:
        """Return scale * values + shift, (n_jets, n_out)."""
        return values * self.scale + self.shift


class Softmax(Layer):
    """Class probabilities; a head, left out of losses and of RTL."""

    is_head = True

    def compute(self, values: Tensor, *, quantised: bool) -> Tensor:
        """Return exp(x) / sum(exp(x)) over the last axis."""
        return torch.softmax(values, dim=-1)


class Argmax(Layer):
    """The index of the largest logit, the first of equals; a head."""

    is_head = True

    def compute(self, values: Tensor, *, quantised: bool) -> Tensor:
        """Return the index as a float, (n_jets, 1)."""
        return values.argmax(dim=-1, keepdim=True).to(values.dtype)

    def width(self, n_in: int) -> int:
        """Return 1: one index."""
        return 1


LAYERS: dict[str, type[Layer]] = {kind.__name__: kind for kind in (Input, Dense, ReLU, BatchNorm, Softmax, Argmax)}
