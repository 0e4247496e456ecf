"""Text that must not show in a report of an error: trackers and debug logs tell the values of a frame by repr."""


class Hidden(str):
    """A secret on its way through the code; str() and formatting give it, repr does not."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'…'"


class HiddenItems(dict[str, str]):
    """The headers of a request, which may hold a proof: their repr tells their names only."""

    def __repr__(self) -> str:
        return f"<{', '.join(self)}>"
