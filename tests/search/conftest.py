"""What the searches' tests share."""

import pytest

from hepprune.network import Network
from hepprune.pruning import statistics
from hepprune.pruning.statistics import Statistics
from hepprune.task.sample import Sample


@pytest.fixture(scope="session")
def gathered(tagger: Network, jets: tuple[Sample, Sample]) -> Statistics:
    """Statistics of `tagger` on a thousand jets."""
    return statistics.gather(tagger, jets[0].first(1000))
