"""A test that kills its worker, or never ends, is one failed test: the others run, and the session ends."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LIMIT_S = 60
TESTS = """
import os, time, pytest

@pytest.mark.parametrize("n", range(40))
def test_alone(n):
    if n == {alone}:
        {fault}

@pytest.mark.xdist_group("group")
@pytest.mark.parametrize("n", range(5))
def test_together(n):
    if n == {together}:
        {fault}
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "alone", "together"),
    [
        ("os.abort()", 20, 2),
        ("os.abort()", 39, 0),
        ("os.system('sleep 5')", 0, None),
    ],
)
def test_whatever_befalls_a_worker_every_other_test_runs(
    tmp_path: Path, fault: str, alone: int, together: int | None
) -> None:
    (tmp_path / "test_fault.py").write_text(TESTS.format(fault=fault, alone=alone, together=together))
    (tmp_path / "pytest.ini").write_text("[pytest]\nfaulthandler_timeout = 0.5\nfaulthandler_exit_on_timeout = true\n")
    plugins = ["-p", "xdist.plugin", "-p", "tests.scheduling"]
    command = [sys.executable, "-m", "pytest", *plugins, "-n", "2", "--dist", "loadgroup", tmp_path]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    ended = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=LIMIT_S
    )
    n_faults = 1 + (together is not None)
    assert f"{n_faults} failed, {45 - n_faults} passed" in ended.stdout, ended.stdout + ended.stderr
    crashed = set(
        re.findall(r"crashed while running '\S*(test_\w+\[\d+\])", ended.stdout)
    )  # named twice where CI is set
    assert len(crashed) == n_faults
