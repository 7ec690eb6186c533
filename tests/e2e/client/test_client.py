"""The Python client against a real gateway: what is said, cancelled, shared."""

import asyncio
import subprocess
import sys

import pytest

from gateway.client import ChatUpdate, Since, connect
from rpc_schema.conversation import SEND, SendParams
from rpc_schema.directory import HISTORY, HistoryParams
from rpc_schema.errors import AgentNotFound, SessionNotFound
from rpc_schema.events import MessageAssistant, TurnCompleted, TurnStopped
from rpc_schema.lifecycle import CREATE, DELETE, CreateParams, ManyParams, NewSession
from rpc_schema.notifications import Delta, DeltaParams, EventParams
from rpc_schema.system import HEALTH
from tests.e2e.processes import RunningGateway, environment

ECHO = NewSession(agent="echo")


def text(updates: list[ChatUpdate]) -> str:
    return "".join(update.text for update in updates if isinstance(update, Delta) and update.kind == "text")


async def test_a_chat_from_the_first_word_to_the_last(gateway: RunningGateway) -> None:
    """The pieces joined are the message; the next message goes to the same session."""
    async with connect(gateway.url) as gw:
        chat = gw.chat("echo", "one two three")
        updates = [update async for update in chat]
        (message,) = [update for update in updates if isinstance(update, MessageAssistant)]
        assert text(updates) == message.content == "one two three"
        assert isinstance(updates[-1], TurnCompleted)
        async for update in gw.chat(None, "more", key=chat.key):
            assert update.turn != chat.sent.turn if chat.sent else False
        history = await gw.call(HISTORY, HistoryParams(key=chat.key, types=["message.assistant"]))
        assert len(history.events) == 2


async def test_a_chat_is_stopped_and_keeps_its_partial_answer(gateway: RunningGateway) -> None:
    """Stop ends it within the answer; what came before is the message."""
    async with connect(gateway.url) as gw:
        chat = gw.chat("echo", "/words 5000")
        updates: list[ChatUpdate] = []
        async for update in chat:
            updates.append(update)
            if isinstance(update, Delta) and len(updates) < 10:
                assert await chat.stop()
        (message,) = [update for update in updates if isinstance(update, MessageAssistant)]
        assert message.partial
        assert text(updates) == message.content
        assert isinstance(updates[-1], TurnStopped)


async def test_cancelling_a_wait_leaves_the_turn_and_the_connection_alone(gateway: RunningGateway) -> None:
    """The request is taken back; the turn runs to its end, and the next call is answered."""
    async with connect(gateway.url) as gw:
        session = (await gw.call(CREATE, CreateParams(agent="echo"))).session
        async with gw.subscribe(session.key) as notices:
            waiting = SendParams(key=session.key, content="/words 20", wait=True)
            call = asyncio.create_task(gw.call(SEND, waiting))
            await anext(notice async for notice in notices if isinstance(notice, DeltaParams))
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            async for notice in notices:
                if isinstance(notice, EventParams) and isinstance(notice.event, TurnCompleted):
                    break
        assert (await gw.call(HEALTH)).status == "ok"


async def test_a_timeout_takes_a_wait_back(gateway: RunningGateway) -> None:
    """TimeoutError after the time, and the connection goes on."""
    async with connect(gateway.url) as gw:
        with pytest.raises(TimeoutError):
            await gw.call(SEND, SendParams(key="slow", content="/sleep 20000", create=ECHO, wait=True), timeout=0.1)
        assert (await gw.call("session.stop", {"key": "slow"}))["stopped"]


async def test_many_subscriptions_on_one_connection(gateway: RunningGateway) -> None:
    """A hundred sessions answer at once; each follower gets its own answer and no other's."""
    many = 100

    async with connect(gateway.url) as gw, connect(gateway.url) as sender:
        sessions = [(await gw.call(CREATE, CreateParams(agent="echo"))).session for _ in range(many)]
        stands = asyncio.Barrier(many + 1)

        async def answered(key: str) -> str:
            async with gw.subscribe(key) as notices:
                await stands.wait()
                async for notice in notices:
                    if isinstance(notice, EventParams):
                        assert notice.key == key
                        if isinstance(notice.event, MessageAssistant):
                            return notice.event.content
            raise AssertionError

        async with asyncio.TaskGroup() as tasks:
            followers = [tasks.create_task(answered(session.key)) for session in sessions]
            await stands.wait()
            for session in sessions:
                await sender.call(SEND, SendParams(key=session.key, content=f"mine is {session.key}"))
        assert [follower.result() for follower in followers] == [f"mine is {s.key}" for s in sessions]


async def test_a_long_replay_is_read_at_the_consumers_pace(gateway: RunningGateway) -> None:
    """Several MiB of log through a consumer that also calls: everything once, in order."""
    content = "x" * 100_000
    async with connect(gateway.url) as gw:
        for _ in range(20):
            await gw.call(SEND, SendParams(key="long", content=content, create=ECHO, wait=True))
        seqs = []
        async with gw.subscribe("long", since=Since(seq=0)) as notices:
            head = notices.result.head
            async for notice in notices:
                assert isinstance(notice, EventParams)
                seqs.append(notice.event.seq)
                if notice.event.seq % 20 == 0:
                    await gw.call(HEALTH)
                if notice.event.seq == head:
                    break
        assert seqs == list(range(1, head + 1))


async def test_errors_are_the_contracts_classes(gateway: RunningGateway) -> None:
    """By descriptor and by name alike."""
    async with connect(gateway.url) as gw:
        with pytest.raises(AgentNotFound, match="nobody"):
            await gw.call(CREATE, CreateParams(agent="nobody"))
        with pytest.raises(SessionNotFound):
            await gw.call("session.status", {"key": "nowhere"})
        done = await gw.call_many(DELETE, ManyParams(keys=["nowhere"]))
        assert (done.succeeded, done.failed) == (0, 1)


async def test_leaving_a_subscription_frees_its_place(gateway: RunningGateway) -> None:
    """Many more subscriptions than a connection may have, one after another."""
    async with connect(gateway.url) as gw:
        session = (await gw.call(CREATE, CreateParams(agent="echo"))).session
        for _ in range(gw.hello.limits.subscriptions + 10):
            async with gw.subscribe(session.key):
                pass


async def test_a_chat_that_is_left_early_leaves_nothing_behind(gateway: RunningGateway) -> None:
    """Breaking out of the loop unsubscribes and does not stop the turn."""
    async with connect(gateway.url) as gw, connect(gateway.url) as other:
        await gw.call(CREATE, CreateParams(agent="echo", key="left"))
        async with other.subscribe("left") as notices:
            async for _ in gw.chat(None, "/words 10", key="left"):
                break
            async for notice in notices:
                if isinstance(notice, EventParams) and isinstance(notice.event, TurnCompleted):
                    break
        assert (await gw.call(HEALTH)).status == "ok"


LEAVES_EARLY = """
import asyncio, sys
from gateway.client import connect, follow, Since

async def chat(url):
    async with connect(url) as gw:
        async for _ in gw.chat("echo", "/words 50", key="early"):
            break

async def break_off(url):
    async for _ in follow("early", url=url, since=Since(seq=0)):
        break

async def fail(url):
    async for _ in follow("early", url=url, since=Since(seq=0)):
        raise KeyError

async def run_out_of_time(url):
    async with asyncio.timeout(0.1):
        async for _ in follow("early", url=url):
            pass

async def keep(url):
    global kept
    kept = aiter(follow("early", url=url, since=Since(seq=0)))
    await anext(kept)

for main in (chat, break_off, fail, run_out_of_time, keep):
    try:
        asyncio.run(main(sys.argv[1]))
    except (KeyError, TimeoutError):
        pass
"""


def test_a_script_may_leave_any_way_it_likes(gateway: RunningGateway) -> None:
    """Break, raise, time out, forget: no warning, no traceback, not even in development mode."""
    command = [sys.executable, "-X", "dev", "-c", LEAVES_EARLY, gateway.url]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
