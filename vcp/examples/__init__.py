"""Example messages as JSON files beside this module: `v03_*`, `v04_*`, `v05_*`; all in them is made up.

for name in vcp.examples.names():
    message = vcp.examples.load(name)
"""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

_SUFFIX = ".json"


def names() -> list[str]:
    """The names of all examples, in alphabetical order."""
    files = (entry.name for entry in resources.files(__name__).iterdir())
    return sorted(name.removesuffix(_SUFFIX) for name in files if name.endswith(_SUFFIX))


def load(name: str) -> dict[str, Any]:
    """One example as parsed JSON, a new object each time. Raises KeyError for a name that `names` does not give."""
    if name not in names():
        raise KeyError(f"no example of this name; there are: {', '.join(names())}")
    text = resources.files(__name__).joinpath(name + _SUFFIX).read_text("utf-8")
    return dict(json.loads(text))
