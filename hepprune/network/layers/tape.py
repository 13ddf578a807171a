"""A tape: what the kernels of a recurrent layer read and put out while it runs, step by step."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from hepprune.network.layers.recurrent import Recurrent


class Tape:
    """What applies a layer's kernels in `Recurrent.run`, and keeps what each of their rows read and put out."""

    def __init__(self, layer: "Recurrent") -> None:
        self.layer, self.product = layer, layer.product(quantised=True)
        self.kept: dict[tuple[str, int | None], list[tuple[Tensor, Tensor]]] = {}

    def __call__(self, kind: str, values: Tensor, rows: slice) -> Tensor:
        """Return what the rows of a kernel put out."""
        made = self.product(kind, values, rows)
        self.kept.setdefault((kind, rows.start), []).append((values.detach(), made))
        return made

    def read(self, kind: str) -> Tensor:
        """Return what a kernel read in one run, (n_jets, n_steps, groups, weights of one output), as the steps ran."""
        parts = [_by_step([read for read, _ in pairs]) for (of, _), pairs in self.kept.items() if of == kind]
        return self._as_run(kind, torch.stack(parts, dim=2))

    def made(self, kind: str) -> Tensor:
        """Return what a kernel put out in one run, (n_jets, n_steps, rows), as the steps ran."""
        parts = [_by_step([made for _, made in pairs]) for (of, _), pairs in self.kept.items() if of == kind]
        return self._as_run(kind, torch.cat(parts, dim=-1))

    def _as_run(self, kind: str, values: Tensor) -> Tensor:
        return values.flip(1) if kind == "weight" and self.layer.backwards else values

    def gradients(self, totals: Sequence[Tensor], slopes: Sequence[Tensor]) -> list[Tensor]:
        """Return the gradients of each kernel for each jet, (n_jets, *kernel), from those of what the layer put out."""
        made = [each for pairs in self.kept.values() for _, each in pairs]
        found = iter(torch.autograd.grad(totals, made, slopes, retain_graph=True))
        gates: dict[str, list[Tensor]] = {}
        for (kind, _), pairs in self.kept.items():
            slope, read = _by_step([next(found) for _ in pairs]), _by_step([read for read, _ in pairs])
            gates.setdefault(kind, []).append(torch.einsum("nsf,nsk->nfk", slope, read))
        return [torch.cat(parts, dim=1) for parts in gates.values()]


def _by_step(values: Sequence[Tensor]) -> Tensor:
    """Return values of single steps (n_jets, n) or of whole runs (n_jets, n_steps, n), one after the other."""
    return torch.cat([each if each.ndim == 3 else each[:, None] for each in values], dim=1)
