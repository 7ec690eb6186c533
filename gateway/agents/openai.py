"""Agents behind a server that speaks the Chat Completions stream. The door to aiohttp.

Only the exchange: connect, ask, read on, let go. What is asked and what an
answer says is in `chat_completions` and `chat_answer`, errors in `chat_failures`.
"""

import asyncio
import io
import os
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from gateway.agents.base import AgentFailure, Finish, Output, Turn
from gateway.agents.chat_answer import Answer
from gateway.agents.chat_completions import NotAChunk, request_body
from gateway.agents.chat_failures import ChatFailures
from gateway.agents.sse import EventStream, EventTooLong

CONNECT_S = 10.0
MAX_WHOLE_ANSWER_BYTES = 8 * 1024 * 1024
MAX_ERROR_BYTES = 64 * 1024
ERROR_BODY_S = 5.0

USAGE_S = 5.0  # after the finish reason: usage and [DONE] follow at once, or never
EOF_S = 0.1  # after [DONE]: a connection read to its end can be used again


class OpenAIAgent:
    """An agent of kind `openai`. Its turns share one HTTP session, made by the first of them."""

    kind = "openai"

    def __init__(
        self,
        *,
        id: str,
        provider: str,
        model: str,
        base_url: str,
        api_key_env: str,
        system: str,
        silence_s: float,
        members: Mapping[str, Any],
    ) -> None:
        self.id, self.provider, self.model = id, provider, model
        self._url = _completions_url(base_url)
        self._api_key_env, self._system, self._silence_s, self._members = api_key_env, system, silence_s, members
        self._session: aiohttp.ClientSession | None = None

    def unavailable(self) -> str | None:
        """Say what is wrong with the API key; the server is not asked."""
        if not self._api_key_env:
            return None
        if not (key := self._key()):
            return f"The environment variable {self._api_key_env}, which should hold the API key, is empty."
        if not (key.isascii() and key.isprintable()):
            return f"The environment variable {self._api_key_env} holds something that cannot be an API key."
        return None

    async def run(self, turn: Turn, out: Output) -> Finish:
        """Ask the server for one answer, and pass it on as it comes."""
        if reason := self.unavailable():
            raise AgentFailure("agent_unavailable", reason)
        key, model = self._key(), turn.model or self.model
        await out.generation(provider=self.provider, model=model)
        body = request_body(turn.messages, model=model, system=self._system, members=self._members)
        failures = ChatFailures(key=key, key_env=self._api_key_env)
        answer = Answer(out, failures)
        response = await self._ask(body, key)
        try:
            await self._read(response, answer, failures)
        finally:
            response.close()
        return await answer.end()

    async def close(self) -> None:
        """Let go of the HTTP session; a turn that comes later makes a new one."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _key(self) -> str:
        return os.environ.get(self._api_key_env, "").strip() if self._api_key_env else ""

    async def _ask(self, body: bytes, key: str) -> aiohttp.ClientResponse:
        """Send a request and wait for the head of its response, which the caller closes."""
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        try:
            async with asyncio.timeout(self._silence_s):
                return await self._post(body, headers)
        except aiohttp.ConnectionTimeoutError as error:
            raise AgentFailure(
                "agent_timeout", f"The model's server took no connection within {CONNECT_S:g} seconds."
            ) from error
        except TimeoutError as error:
            raise self._silence() from error
        except (aiohttp.ClientConnectorError, aiohttp.InvalidURL) as error:
            raise AgentFailure("agent_unavailable", "The model's server cannot be reached.") from error
        except aiohttp.ClientResponseError as error:
            raise _not_a_stream() from error
        except aiohttp.ClientError as error:
            raise AgentFailure(
                "agent_unavailable", "The model's server closed the connection without an answer."
            ) from error

    async def _post(self, body: bytes, headers: Mapping[str, str]) -> aiohttp.ClientResponse:
        session = self._open_session()
        while True:
            attempt = _Attempt()
            try:
                return await session.post(
                    self._url, data=io.BytesIO(body), headers=headers, allow_redirects=False, trace_request_ctx=attempt
                )
            except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError):
                # A kept connection, which the server was closing while we wrote to it: a new one is no repetition.
                if not attempt.is_on_kept_connection:
                    raise

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            traces = aiohttp.TraceConfig()
            traces.on_connection_reuseconn.append(_note_reuse)
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0),  # how many turns may run is decided elsewhere
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=self._silence_s),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={
                    "Content-Type": "application/json",
                    "Accept": "text/event-stream",
                    "Accept-Encoding": "identity",  # a compressed stream comes in lumps
                    "User-Agent": "session-gateway",
                },
                response_class=_Response,
                trace_configs=[traces],
            )
        return self._session

    async def _read(self, response: aiohttp.ClientResponse, answer: Answer, failures: ChatFailures) -> None:
        if not 200 <= response.status < 300:
            raise failures.of_status(response.status, await _error_body(response), response.headers)
        try:
            match response.content_type:
                case "application/json":
                    answer.take_whole(await _read_bounded(response.content, MAX_WHOLE_ANSWER_BYTES))
                case "text/html":
                    raise _not_a_stream()
                case _:
                    await self._follow(response.content, answer)
        except (NotAChunk, EventTooLong) as error:
            raise _not_a_stream() from error
        except (TimeoutError, aiohttp.ClientError) as error:
            if answer.is_complete:
                return
            raise (self._silence() if isinstance(error, TimeoutError) else _cut()) from error

    async def _follow(self, content: aiohttp.StreamReader, answer: Answer) -> None:
        events = EventStream()
        loop = asyncio.get_running_loop()
        was_complete = was_done = False
        async with asyncio.timeout(None) as patience:
            async for piece in content.iter_any():
                for payload in events.feed(piece):
                    answer.take(payload)
                if (answer.is_complete, answer.is_done) != (was_complete, was_done):
                    was_complete, was_done = answer.is_complete, answer.is_done
                    patience.reschedule(loop.time() + (EOF_S if was_done else USAGE_S))
        _take_rest(events, answer)

    def _silence(self) -> AgentFailure:
        return AgentFailure("agent_timeout", f"The model's server said nothing for {self._silence_s:g} seconds.")


class _Response(aiohttp.ClientResponse):
    """A response whose closing waits for nothing, not even for unsent bytes of the request.

    One that was read to its end has given its connection back before.
    """

    def close(self) -> None:
        if self.connection is not None and self.connection.transport is not None:
            self.connection.transport.abort()
        super().close()


class _Attempt:
    """One try at a request."""

    is_on_kept_connection = False


async def _note_reuse(session: aiohttp.ClientSession, context: Any, params: Any) -> None:
    context.trace_request_ctx.is_on_kept_connection = True


def _take_rest(events: EventStream, answer: Answer) -> None:
    """Take the last event of a server that leaves out the final blank line, unless the stream ended inside it."""
    try:
        for payload in events.end():
            answer.take(payload)
    except NotAChunk as error:
        if not answer.is_complete:
            raise _cut() from error
    if not answer.has_begun:
        raise _not_a_stream()
    if not answer.is_complete:
        raise _cut()


async def _error_body(response: aiohttp.ClientResponse) -> bytes:
    """Read what can be had of it: the status alone is a reason too."""
    try:
        async with asyncio.timeout(ERROR_BODY_S):
            return await _read_bounded(response.content, MAX_ERROR_BYTES)
    except (TimeoutError, aiohttp.ClientError):
        return b""


async def _read_bounded(content: aiohttp.StreamReader, most: int) -> bytes:
    body = bytearray()
    async for piece in content.iter_any():
        body += piece
        if len(body) >= most:
            break
    return bytes(body[:most])


def _not_a_stream() -> AgentFailure:
    return AgentFailure("agent_failed", "The model's server did not answer with a Chat Completions stream.")


def _cut() -> AgentFailure:
    return AgentFailure("agent_failed", "The stream was cut before the answer was complete.")


def _completions_url(base_url: str) -> str:
    parts = urlsplit(base_url)
    return parts._replace(path=f"{parts.path.rstrip('/')}/chat/completions").geturl()
