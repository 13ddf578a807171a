"""Texts in other languages that firmware is made of, each in a file of its own: C++, VHDL, Verilog, Tcl, make."""

from importlib import resources


def read(file: str) -> str:
    """Return a text of this folder."""
    return resources.files(__package__).joinpath(file).read_text(encoding="utf-8")


def filled(file: str, /, **values: object) -> str:
    """Return a text of this folder with a value in the place of each `@key`, one key after the other.

    Raises:
        KeyError: a key has no place in the text.
    """
    text = read(file)
    for key, value in values.items():
        if f"@{key}" not in text:
            raise KeyError(key)
        text = text.replace(f"@{key}", str(value))
    return text
