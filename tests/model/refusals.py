"""What a call is refused with."""

from typing import Any


class Refused(Exception):
    """The number, the word and the data of an error that a client gets."""

    def __init__(self, number: int, code: str, *, retryable: bool = False, **data: Any) -> None:
        super().__init__(code)
        self.number, self.data = number, {"code": code, "retryable": retryable} | data
