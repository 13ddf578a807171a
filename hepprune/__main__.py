"""`python -m hepprune`."""

from hepprune.cli import app

app()
