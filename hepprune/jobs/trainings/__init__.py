"""Jobs that train, as their commands: methods compared, lottery tickets, dynamic networks, a latency reached."""

from dataclasses import dataclass

import hepprune


@dataclass(frozen=True, kw_only=True)
class StudyResult:
    """What every study says of itself: whose network, by which version, how many jets, and the files of the plots."""

    name: str
    version: str = hepprune.__version__
    n_train: int
    n_test: int
    files: dict[str, str]
