"""One message and its answer on the terminal or in a pipe, and Ctrl-C while it comes."""

import asyncio
import signal
from contextlib import suppress
from types import FrameType
from typing import Literal, Self

import click

from gateway.client import Chat, ChatUpdate, ClientError
from rpc_schema.errors import RpcError
from rpc_schema.events import MessageAssistant, ToolCall, ToolResult, TurnCompleted, TurnFailed, TurnStopped
from rpc_schema.notifications import Delta

from .options import Caller
from .output import as_json, clean, one_line, styled

TurnEnd = TurnCompleted | TurnStopped | TurnFailed
Interrupt = Literal["stopped", "left"]
_INPUT_CHARACTERS = 100


class Screen:
    """Shows updates as they come; a pipe gets the answer's text and nothing else."""

    def __init__(self, *, is_for_people: bool) -> None:
        self._is_for_people = is_for_people
        self._is_at_line_start = True
        self._kind = "text"

    def show(self, update: ChatUpdate) -> None:
        """Print what there is to see of it."""
        match update:
            case Delta(kind="text"):
                self._stream("text", clean(update.text), is_dim=False)
            case Delta(kind="reasoning") if self._is_for_people:
                self._stream("reasoning", clean(update.text), is_dim=True)
            case MessageAssistant():
                self._end_line()
            case ToolCall() if self._is_for_people:
                self._note(f"→ {one_line(update.name)} {as_json(update.input)[:_INPUT_CHARACTERS]}")
            case ToolResult(error=str() as error) if self._is_for_people:
                self._note(f"→ failed: {one_line(error)}")

    def _stream(self, kind: str, text: str, *, is_dim: bool) -> None:
        if not text:
            return
        if kind != self._kind:
            self._end_line()
            self._kind = kind
        click.echo(styled(text, dim=True) if is_dim else text, nl=False)
        self._is_at_line_start = text.endswith("\n")

    def _note(self, text: str) -> None:
        self._end_line()
        click.echo(styled(text, dim=True))

    def _end_line(self) -> None:
        if not self._is_at_line_start:
            click.echo()
            self._is_at_line_start = True


async def answer(caller: Caller, agent: str | None, key: str, content: str, screen: Screen) -> TurnEnd | Interrupt:
    """Send a message, show its answer and give how its turn ended.

    Ctrl-C stops the turn, whose partial answer is kept: `stopped`. A second one,
    or one before the message was taken, gives up waiting: `left`.
    """
    async with caller.connect() as gateway:
        chat = gateway.chat(agent, content, key=key)
        with _Interrupts(chat) as interrupts:
            try:
                end = await _shown(chat, screen)
            except asyncio.CancelledError:
                if interrupts.gave_up:
                    return "left"
                raise
            return "stopped" if interrupts.stopped and isinstance(end, TurnStopped) else end


async def _shown(chat: Chat, screen: Screen) -> TurnEnd:
    async for update in chat:
        screen.show(update)
        if isinstance(update, TurnEnd):
            return update
    raise AssertionError("a chat ends with the end of its turn")


class _Interrupts:
    """What Ctrl-C does while an answer comes."""

    def __init__(self, chat: Chat) -> None:
        self.stopped = self.gave_up = False
        self._chat = chat
        self._tasks: list[asyncio.Task[None]] = []

    def __enter__(self) -> Self:
        self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        self._before = signal.signal(signal.SIGINT, self._heard)
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGINT, self._before)

    def _heard(self, _number: int, _frame: FrameType | None) -> None:
        self._loop.call_soon_threadsafe(self._react)

    def _react(self) -> None:
        if not self.stopped and self._chat.sent is not None:
            self.stopped = True
            self._tasks.append(self._loop.create_task(self._stop()))
        elif self._task is not None:
            self.gave_up = True
            self._task.cancel()

    async def _stop(self) -> None:
        with suppress(RpcError, ClientError):
            await self._chat.stop()
