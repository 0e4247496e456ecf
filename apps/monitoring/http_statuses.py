"""Sets of HTTP statuses as people write them: `200-299, 400, 401`."""

import re
from functools import lru_cache

_PART = re.compile(r"([0-9]{3})(?:\s*-\s*([0-9]{3}))?")


@lru_cache(maxsize=256)
def parse(text: str) -> tuple[range, ...]:
    """The ranges of a list such as `200-299, 400, 401`; of an empty text none.

    Raises ValueError with a sentence that names the wrong part and says what is right.
    """
    return tuple(_range(part.strip()) for part in text.split(",") if part.strip())


def includes(text: str, status: int) -> bool:
    """Whether the status is in the list. Raises ValueError as parse does."""
    return any(status in one for one in parse(text))


def _range(part: str) -> range:
    found = _PART.fullmatch(part)
    if found is None:
        raise ValueError(f"{part!r} is no HTTP status: write 404, or a range such as 500-599, separated by commas.")
    first, last = int(found[1]), int(found[2] or found[1])
    if not 100 <= first <= last <= 599:
        raise ValueError(f"{part!r} is out of order: HTTP statuses go from 100 to 599, the smaller one first.")
    return range(first, last + 1)
