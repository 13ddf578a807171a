"""Matrix products, contractions and attention."""

import math
from typing import Any

from hepprune.errors import NetworkError, refused
from hepprune.frontends.pytorch.building import Assembly
from hepprune.frontends.pytorch.operators.elementwise import softmax
from hepprune.frontends.pytorch.operators.registry import constant, jets_value, operator, unchanged
from hepprune.frontends.pytorch.operators.weighted import dense, transposed
from hepprune.frontends.pytorch.program import Call
from hepprune.frontends.pytorch.values import Constant, Value
from hepprune.network import Einsum

_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


@operator("matmul", "bmm", "mm")
def matmul(built: Assembly, call: Call, x: Any, **sides: Any) -> Value:
    """A product of matrices of jets, or of one and a constant matrix (a dense layer)."""
    (y,) = sides.values()
    ranks = [len(side.shape) for side in (x, y)]
    if min(ranks) < 2:
        raise NetworkError(f"'{call.name}' ({call.target}) multiplies a vector; give it an axis of size 1")
    lead = _LETTERS[3 : 1 + max(ranks)]
    terms = [lead[len(lead) - rank + 2 :] + last for rank, last in zip(ranks, ("ab", "bc"), strict=True)]
    return contracted(built, call, (x, y), (terms[0], terms[1], lead + "ac"))


@operator("einsum")
def einsum(built: Assembly, call: Call, equation: str, *, tensors: list[Any], **_: Any) -> Value:
    """A contraction of two values by its equation."""
    left, _arrow, out = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    odd = len(terms) != 2 or any(len(set(term)) != len(term) or not term.isalpha() for term in (*terms, out))
    if len(tensors) != 2 or odd or any(len(t) != len(side.shape) for t, side in zip(terms, tensors, strict=True)):
        raise NetworkError(f"'{call.name}': '{equation}' is not a contraction of two values such as bij,bjk->bik")
    return contracted(built, call, (tensors[0], tensors[1]), (terms[0], terms[1], out))


@operator("baddbmm")
def added_product(
    built: Assembly, call: Call, start: Any, *, batch1: Any, batch2: Any, beta: float = 1, alpha: float = 1
) -> Value:
    """A product of matrices that is added to zero."""
    if beta != 0 and not (isinstance(start, Constant) and not start.tensor.any()):
        raise NetworkError(f"'{call.name}' ({call.target}) adds something to a product, which is not known")
    found = matmul(built, call, batch1, other=batch2)
    return unchanged(found, built.affine(found.layer, float(alpha), 0.0, f"{call.name}.scale"))


def contracted(built: Assembly, call: Call, sides: tuple[Any, Any], terms: tuple[str, str, str]) -> Value:
    """Contract two values, or a value and a constant, by the letters of torch's axes."""
    x, y = sides
    if isinstance(x, Constant):
        return _with_constant(built, call, jets_value(y, call), x, terms=(terms[1], terms[0], terms[2]))
    if isinstance(y, Constant):
        return _with_constant(built, call, jets_value(x, call), y, terms=terms)
    sizes = _sizes(call, terms, (x, y))
    shape = [sizes[letter] for letter in terms[2]]
    x, y, left, right, out = _aligned(built, (x, y), terms, sizes)
    jets = left[built.jets(x)]
    if right[built.jets(y)] != jets or out.count(jets) != 1:
        hint = "; is its batch_first=True missing?" if call.scope[1].endswith("MultiheadAttention") else ""
        raise NetworkError(f"'{built.title(call)}' ({call.target}) combines the values of different jets{hint}")
    title = built.title(call)
    layers, words = [], []
    for side, letters in ((x, left), (y, right)):
        axes = built.axes(side)
        layers.append(built.place(side, axes, f"{title}.arranged"))
        words.append("".join(letters[axis] for axis in axes[1:]))
    inner = out.replace(jets, "")
    name = built.add(Einsum(built.name(title), f"{words[0]},{words[1]}->{inner}"), *layers)
    return built.value(name, tuple(out.index(c) for c in jets + inner), shape)


def _sizes(call: Call, terms: tuple[str, str, str], sides: tuple[Value, Value]) -> dict[str, int]:
    """Return the size of every axis by its letter; one of size 1 is spread, no other may differ."""
    sizes: dict[str, int] = {}
    for term, side in zip(terms, sides, strict=False):
        for letter, size in zip(term, side.shape, strict=True):
            before = sizes.get(letter, 1)
            if 1 != size != before != 1:
                shapes = " and ".join(str(tuple(side.shape)) for side in sides)
                raise NetworkError(f"'{call.name}' ({call.target}) cannot contract values of the shapes {shapes}")
            sizes[letter] = max(size, before)
    return sizes


def _aligned(
    built: Assembly, sides: tuple[Value, Value], terms: tuple[str, str, str], sizes: dict[str, int]
) -> tuple[Value, Value, str, str, str]:
    """Return both values with an axis of jets of their own and without axes of size 1 to spread, and their letters."""
    found, out = [], terms[2]
    for side, given in zip(sides, terms, strict=False):
        spread = [axis for axis, (letter, n) in enumerate(zip(given, side.shape, strict=True)) if n < sizes[letter]]
        term = "".join(letter for axis, letter in enumerate(given) if axis not in spread)
        narrow = side.moved(side.index.squeeze(spread) if spread else side.index)
        split = built.split(narrow)
        if split.index.ndim > len(term):  # the jets shared an axis with others, as heads do
            axis = next(a for a, n in enumerate(narrow.shape) if n != split.shape[a])
            term, out = (text.replace(narrow_letter, "YZ") for narrow_letter in term[axis] for text in (term, out))
        found.append((split, term))
    return found[0][0], found[1][0], found[0][1], found[1][1], out


def _with_constant(built: Assembly, call: Call, x: Value, matrix: Constant, *, terms: tuple[str, str, str]) -> Value:
    """Contract a value with a constant matrix: a dense layer over the axis that both have."""
    values, constants, out = terms
    title = built.title(call, matrix)
    gone = [c for c in constants if c in values and c not in out]
    new = [c for c in constants if c not in values]
    if matrix.tensor.ndim != 2 or len(gone) != 1 or len(new) != 1 or not set(out) <= set(values + constants):
        raise NetworkError(f"'{call.name}' ({call.target}) contracts more than one axis with a constant")
    weight = matrix if constants == new[0] + gone[0] else transposed(matrix)
    moved = x.moved(x.index.movedim(values.index(gone[0]), -1))
    result = dense(built, moved, constant(weight, title, "weight"), None, title=title)
    letters = values.replace(gone[0], "") + new[0]
    return result.moved(result.index.permute([letters.index(c) for c in out]))


@operator("scaled_dot_product_attention")
def attention(built: Assembly, call: Call, query: Any, *, key: Any, value: Any, **options: Any) -> Value:
    """softmax(q k^T / sqrt(d)) v (Vaswani et al., arXiv:1706.03762)."""
    title, scale = built.title(call), options.get("scale")
    if options.get("attn_mask") is not None or options.get("is_causal") or options.get("enable_gqa"):
        raise refused(title, "is attention with a mask or grouped heads, which is not known")
    q, k, v = (jets_value(side, call) for side in (query, key, value))
    lead = _LETTERS[4 : 2 + q.index.ndim]
    scores = contracted(built, call, (q, k), (f"{lead}ad", f"{lead}bd", f"{lead}ab"))
    factor = scale if scale is not None else 1 / math.sqrt(q.shape[-1])
    # stays where fewer values are summed, which torch would make it follow
    built.traces.factors.setdefault(call.name, factor)
    before = factor if built.fitting is None else built.fitting.before.factors[call.name]
    if before != factor:
        built.rewrite(call, scale=before)
    scores = unchanged(scores, built.affine(scores.layer, before, 0.0, f"{title}.scale"))
    return contracted(built, call, (softmax(built, call, scores, dim=-1), v), (f"{lead}ab", f"{lead}bd", f"{lead}ad"))
