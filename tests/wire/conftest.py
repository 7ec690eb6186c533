"""The golden scripts, each played once however many tests look at what came of it."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.wire.play import Recording, play
from tests.wire.script import parse

HERE = Path(__file__).parent
SCRIPTS = sorted(str(path.relative_to(HERE).with_suffix("")) for path in HERE.glob("*/*.wire"))

Recordings = Callable[[str], Awaitable[Recording]]


@pytest.fixture(scope="session")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Recordings:
    """What is said when a script is played, by the script's name."""
    kept: dict[str, Recording] = {}

    async def recording(name: str) -> Recording:
        if name not in kept:
            text = (HERE / f"{name}.wire").read_text(encoding="utf-8")
            kept[name] = await play(parse(text), tmp_path_factory.mktemp("wire"))
        return kept[name]

    return recording


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run whatever asks for `script_name` once a script."""
    if "script_name" in metafunc.fixturenames:
        metafunc.parametrize("script_name", SCRIPTS)
