"""The gateway answers as the golden scripts have it: the contract, by example."""

from tests.wire.conftest import SCRIPTS, Recordings


async def test_it_goes_as_written(script_name: str, recordings: Recordings) -> None:
    """Every frame in its place, and nothing besides."""
    recording = await recordings(script_name)
    assert recording.failure is None, f"tests/wire/{script_name}.wire, {recording.failure}"


def test_there_are_scripts() -> None:
    """A glob that finds nothing would pass."""
    assert len(SCRIPTS) > 100
