"""The one error of this package."""


class ContentError(Exception):
    """A body that cannot be compared. It says nothing of the provider: the check, or what it was served, is at fault.

    `kind` is `selector` (finds nothing, or is none), `empty` (no text: a JavaScript shell, a browser check) or `format`
    (not what it should be). The text is a sentence for people.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind
