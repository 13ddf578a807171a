"""Samples gathered from the batches of a torch DataLoader are those made of its arrays."""

from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from hepprune.errors import DataError
from hepprune.task import Classes, Regression, Tasks
from hepprune.task.sample import Sample

X, Y = torch.arange(30.0).reshape(10, 3), torch.arange(10) % 3
WEIGHT = torch.linspace(0.5, 1.5, 10)


@pytest.mark.parametrize("weight", [(), (WEIGHT,)])
def test_the_batches_of_a_loader_are_its_jets(weight: tuple[Any, ...]) -> None:
    loader = DataLoader(TensorDataset(X, Y, *weight), batch_size=4)
    assert Sample.from_batches(loader).key == Sample.from_arrays(X, Y, *weight).key


def test_several_inputs_and_outputs_are_gathered_one_by_one() -> None:
    task = Tasks({"kind": Classes(), "pt": Regression()})
    batches = [((X[rows], X[rows, :1]), (Y[rows], X[rows, 0])) for rows in (slice(6), slice(6, 10))]
    found = Sample.from_batches(batches, task=task)
    assert found.key == Sample.from_arrays((X, X[:, :1]), (Y, X[:, 0]), task=task).key
    arrays = [(np.asarray(X), np.asarray(Y))]
    assert torch.equal(Sample.from_batches(arrays).features, X)


@pytest.mark.parametrize("batches", [[], [X], [(X,)], [(X, Y), (X, Y, WEIGHT)], [(X, Y, WEIGHT, Y)]])
def test_other_batches_are_refused(batches: list[Any]) -> None:
    with pytest.raises(DataError, match="batches are .x, y. or .x, y, weight., all alike, and at least one"):
        Sample.from_batches(batches)
