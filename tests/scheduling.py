"""How tests are handed to workers: in xdist's groups, and what a worker that died has left goes to the others."""

from typing import Any

import pytest
from xdist.scheduler import LoadGroupScheduling


class Groups(LoadGroupScheduling):
    """xdist's own gives finished tests of a dead worker out again, and waits for ever for them to finish."""

    def remove_node(self, node: Any) -> str | None:
        """Forget a worker; the test that it died in, which is not run again, or None where it had nothing to do."""
        left = {
            scope: {test: done for test, done in tests.items() if not done}
            for scope, tests in self.assigned_work.pop(node).items()
        }
        crashed = next((test for tests in left.values() for test in tests), None)
        if crashed is None:
            return None
        del left[self._split_scope(crashed)][crashed]
        self.workqueue.update({scope: tests for scope, tests in left.items() if tests})
        for other in self.nodes:
            self._reschedule(other)
        return crashed

    def _reschedule(self, node: Any) -> None:
        """Give a worker two tests at least where there are any: it begins one only when it knows the next."""
        if node not in self.registered_collections:  # it replaces another and has not found its tests yet
            return
        while self.workqueue and not node.shutting_down and self._pending_of(self.assigned_work[node]) < 2:
            self._assign_work_unit(node)
        super()._reschedule(node)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Groups | None:
    """The scheduler of `--dist loadgroup`."""
    return Groups(config, log) if config.getvalue("dist") == "loadgroup" else None
