"""What can go wrong between a payload and a message.

EngineError
├── PathError        a path that cannot be read as a path
├── TransformError   a value that a transform does not understand
├── PayloadError     a body that is no payload: not JSON, too deep
└── MappingError     an event that cannot become part of a message
"""


class EngineError(Exception):
    """Root of the engine's errors; its text names what to fix and never quotes a payload's value."""


class PathError(EngineError):
    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"path {path!r}: {problem}")
        self.path = path


class TransformError(EngineError):
    def __init__(self, expected: str, got: object) -> None:
        super().__init__(f"expected {expected}, got {type(got).__name__}")
        self.expected = expected


class PayloadError(EngineError):
    """`detail` says what is wrong with the body, in words for people."""


class MappingError(EngineError):
    """`code` is one of the VCP error codes, `path` a JSONPath into the payload, `rule` the rule's own words."""

    def __init__(self, code: str, message: str, *, path: str = "", rule: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.path = path
        self.rule = rule
