"""Reads JSON columns whose numbers must come back as they went in."""

import json
from typing import Any


class StoredJSON(json.JSONDecoder):
    """PostgreSQL writes 1e+22 out as an integer; beyond 64 bits a number is a float again, as it was when it came."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options, parse_int=_number)


def _number(text: str) -> int | float:
    return int(text) if len(text) < 19 or -(2**63) <= int(text) < 2**64 else float(text)
