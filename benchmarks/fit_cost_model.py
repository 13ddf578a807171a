"""Fit the constants of the cost models on published reports, and say how well each source is predicted without itself.

One command: `python benchmarks/fit_cost_model.py [--check]`. It writes hepprune/hardware/cost/constants.json and the
table in docs/cost.md; `--check` writes nothing and ends with an error if they would change.
"""

import argparse
import json
import sys
from pathlib import Path

import cost_designs
import cost_samples
from cost_errors import Errors
from cost_fit import completed, fit

from hepprune.files import write_text

ROOT = Path(__file__).resolve().parents[1]
CONSTANTS = ROOT / "hepprune/hardware/cost/constants.json"
PAGE = ROOT / "docs/cost.md"
RULES_SOURCE = "one register per bit kept; one LUT per bit added or compared where no report shows it"
START, END = "<!-- errors: written by benchmarks/fit_cost_model.py -->", "<!-- end of errors -->"


def main() -> int:
    """Fit, print the errors, and write the constants and the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a file would change")
    arguments = parser.parse_args()
    samples = cost_samples.samples()
    errors = Errors.of(samples)
    content = {
        "sources": cost_samples.SOURCES | cost_designs.SOURCES | {"rules": RULES_SOURCE},
        "errors": errors.uncertainties(),
        "factors": completed(fit(samples, cost_designs.designs()), samples),
    }
    shown = errors.page()
    print(shown)
    texts = {CONSTANTS: json.dumps(content, indent=2, sort_keys=True) + "\n"}
    if PAGE.is_file():
        before, _, rest = PAGE.read_text(encoding="utf-8").partition(START)
        texts[PAGE] = f"{before}{START}\n\n{shown}\n{END}{rest.partition(END)[2]}"
    changed = [path for path, text in texts.items() if path.read_text(encoding="utf-8") != text]
    if not arguments.check:
        for path in changed:
            write_text(path, texts[path])
    elif changed:
        print("would change: " + ", ".join(str(path) for path in changed))
    return int(arguments.check and bool(changed))


if __name__ == "__main__":
    sys.exit(main())
