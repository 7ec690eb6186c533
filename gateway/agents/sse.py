"""Server-sent events: bytes in, payloads out, however the bytes were cut.

Pure. Only `data` matters to a model stream; comments, names, ids and retry
times are passed over. Lines end with LF or CRLF.
"""

MAX_EVENT_BYTES = 4 * 1024 * 1024

_BOM = b"\xef\xbb\xbf"


class EventTooLong(ValueError):
    """An event is longer than the bound."""


class EventStream:
    """One stream being read.

    An event is whole at its blank line; its `data` lines are joined by LF. An
    event without data, or with empty data, is nothing.
    """

    def __init__(self, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self._max_event_bytes = max_event_bytes
        self._rest: list[bytes] = []  # the line that is still open, in pieces: joined once, when it ends
        self._rest_bytes = 0
        self._data: list[bytes] = []  # the data lines of the event that is still open
        self._data_bytes = 0
        self._is_at_start = True

    def feed(self, piece: bytes) -> list[bytes]:
        """Take the next bytes and return the payloads that they complete, in order.

        Raises:
            EventTooLong: the stream cannot be read further.
        """
        *lines, rest = piece.split(b"\n")
        if lines:
            lines[0] = b"".join((*self._rest, lines[0]))
            self._rest, self._rest_bytes = [], 0
        payloads = [payload for line in lines if (payload := self._take(line))]
        if rest:
            self._rest.append(rest)
            self._rest_bytes += len(rest)
            self._bound(self._rest_bytes)
        return payloads

    def end(self) -> list[bytes]:
        """Return what the stream left open: the payload of an event without its blank line, perhaps half of it."""
        return self.feed(b"\n\n")

    def _take(self, line: bytes) -> bytes | None:
        self._bound(len(line))
        if self._is_at_start:
            self._is_at_start = False
            line = line.removeprefix(_BOM)
        line = line.removesuffix(b"\r")
        if not line:
            return self._event()
        name, _, value = line.partition(b":")
        if name == b"data":
            self._data.append(value.removeprefix(b" "))
            self._data_bytes += len(value)
        return None

    def _event(self) -> bytes | None:
        payload = b"\n".join(self._data)
        self._data, self._data_bytes = [], 0
        return payload

    def _bound(self, line_bytes: int) -> None:
        if self._data_bytes + line_bytes > self._max_event_bytes:
            raise EventTooLong
