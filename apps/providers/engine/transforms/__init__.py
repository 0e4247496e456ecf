"""Generic transforms from JSON to JSON, named in mapping rules. None knows a provider; oddities are arguments.

One module for each kind of value; those for whole conversations are in `engine/conversation.py`.
"""

from apps.providers.engine.transforms.base import (
    AS_IT_IS,
    REGISTRY,
    Quick,
    Transform,
    UnseenWord,
    build,
    register,
    rows_of,
)
from apps.providers.engine.transforms.lists import Rows, first_told
from apps.providers.engine.transforms.numbers import to_decimal
from apps.providers.engine.transforms.objects import Members, Phrases, Points
from apps.providers.engine.transforms.steps import Chain, Gather
from apps.providers.engine.transforms.texts import Same, Text
from apps.providers.engine.transforms.times import EPOCH, MS_FROM, Epoch, IsoTime, MailTime, to_iso

__all__ = [
    "AS_IT_IS",
    "EPOCH",
    "MS_FROM",
    "REGISTRY",
    "Chain",
    "Epoch",
    "Gather",
    "IsoTime",
    "MailTime",
    "Members",
    "Phrases",
    "Points",
    "Quick",
    "Rows",
    "Same",
    "Text",
    "Transform",
    "UnseenWord",
    "build",
    "first_told",
    "register",
    "rows_of",
    "to_decimal",
    "to_iso",
]
