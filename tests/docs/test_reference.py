"""What is written about the protocol and the settings is what the code says."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.config.environment import COMMAND_LINE, agent_name, names
from gateway.config.values import AGENT, AGENT_POLICY, SETTINGS
from rpc_schema import close_codes
from rpc_schema.registry import ERRORS, EVENTS, METHODS, NOTIFICATIONS
from scripts import generate

TEXT = (generate.ROOT / "rpc_schema" / "REFERENCE.md").read_text(encoding="utf-8")
GENERATED = generate.generated()


def section(title: str) -> str:
    """Give what stands under a heading of the second level."""
    return TEXT.split(f"\n## {title}\n")[1].split("\n## ")[0]


def entry(title: str, within: str) -> str:
    """Give what stands under a heading of the third level."""
    return section(within).split(f"\n### {title}\n")[1].split("\n### ")[0]


def row(first_cell: str, text: str) -> str:
    """Give the line of a table that begins with a cell."""
    return next(line for line in text.splitlines() if line.startswith(f"| {first_cell} |"))


@pytest.mark.parametrize("path", GENERATED, ids=lambda path: path.name)
def test_a_committed_file_is_what_the_types_say(path: Path) -> None:
    """Whoever changes a type runs `make generate`; the difference is in the message."""
    assert generate.drift(path, GENERATED[path]) == []


def test_generating_twice_gives_the_same_bytes() -> None:
    """Nothing depends on the order of a set or on the hash seed, and a file ends with one newline."""
    program = "from scripts.generate import generated; import sys; sys.stdout.write(''.join(generated().values()))"
    texts = {
        subprocess.run(
            [sys.executable, "-c", program],
            cwd=generate.ROOT,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(generate.ROOT), "PYTHONIOENCODING": "utf-8"},
            capture_output=True,
            check=True,
            encoding="utf-8",
        ).stdout
        for seed in ("1", "2")
    }
    assert texts == {"".join(GENERATED.values())}
    assert all(text.endswith("\n") and not text.endswith("\n\n") for text in GENERATED.values())


def test_check_is_silent_from_any_folder_while_nothing_differs(tmp_path: Path) -> None:
    """As in `make check`."""
    script = generate.ROOT / "scripts" / "generate.py"
    done = subprocess.run([sys.executable, script, "--check"], cwd=tmp_path, capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (0, b"")


def test_check_shows_what_differs_and_writes_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 1, the lines, and what to run."""
    path = next(iter(GENERATED))
    before = path.read_bytes()
    changed = before.decode().replace('"openrpc"', '"openapi"', 1)
    monkeypatch.setattr(generate, "generated", lambda: {path: changed})
    monkeypatch.setattr(sys, "argv", ["generate.py", "--check"])
    assert generate.main() == 1
    out = capsys.readouterr().out
    assert '-  "openrpc": "1.3.2",\n+  "openapi": "1.3.2",' in out
    assert out.endswith("run: make generate\n")
    assert path.read_bytes() == before


def test_without_check_the_files_are_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each where it belongs, as UTF-8."""
    monkeypatch.setattr(generate, "generated", lambda: {tmp_path / "a.md": "“yes”\n"})
    monkeypatch.setattr(sys, "argv", ["generate.py"])
    assert generate.main() == 0
    assert (tmp_path / "a.md").read_bytes() == "“yes”\n".encode()


@pytest.mark.parametrize("name", METHODS)
def test_every_method_is_described(name: str) -> None:
    """Its summary, each member of its params and result, and each of its errors."""
    method = METHODS[name]
    text = entry(f"`{name}`", "Methods")
    assert method.summary in text
    for member in method.params.__struct_encode_fields__:
        assert member == "_meta" or row(f"`{member}`", text)
    for error in method.errors:
        assert f"`{error.code}`" in text
    assert ("[BulkResult](#object-bulkresult)" in text) == (method.bulk_result is not None)
    assert ("requests in flight are used up" in text) == method.past_limits


@pytest.mark.parametrize("name", NOTIFICATIONS)
def test_every_notification_is_described(name: str) -> None:
    """Its summary and each member of its params."""
    text = entry(f"`{name}`", "Notifications")
    assert NOTIFICATIONS[name].summary in text
    assert all(row(f"`{member}`", text) for member in NOTIFICATIONS[name].params.__struct_encode_fields__)


@pytest.mark.parametrize("type", EVENTS)
def test_every_event_is_described(type: str) -> None:
    """What it means and each member, those of every event once for all."""
    text = entry(f"`{type}`", "Events")
    shared = section("Events").split("\n### ")[0]
    assert (EVENTS[type].__doc__ or "").splitlines()[0] in text
    assert all(row(f"`{member}`", text + shared) for member in EVENTS[type].__struct_encode_fields__)


@pytest.mark.parametrize("code", ERRORS)
def test_every_error_is_described(code: str) -> None:
    """With its number, whether to try again, and the members of its data."""
    error = ERRORS[code]
    line = row(f"`{code}`", section("Errors"))
    assert f"| {error.number} | {'yes' if error.retryable else 'no'} |" in line
    named = [name for name, method in METHODS.items() if error in method.errors]
    assert all(f"[{name}](#" in line for name in named)
    assert ("any call" in line) == (not named)


def test_a_sentence_of_an_error_names_members_as_the_wire_does() -> None:
    """Braces hold the names of `error.data`, in camelCase."""
    assert "try again in {retryAfterMs} ms." in row("`overloaded`", section("Errors"))


@pytest.mark.parametrize("code", close_codes.MEANING)
def test_every_close_code_is_described(code: int) -> None:
    """With its meaning and whether to come back."""
    back = "yes" if code in close_codes.RECONNECT else "no"
    assert row(str(code), section("Close codes")) == f"| {code} | {close_codes.MEANING[code]} | {back} |"


@pytest.mark.parametrize(("name", "key"), [(name, key) for name, known in SETTINGS.items() for key in known])
def test_every_setting_is_described(name: str, key: str) -> None:
    """What it must be, each of its variables, and a sentence."""
    setting = SETTINGS[name][key]
    line = row(f"`{key}`", entry(f"Section `[{name}]`", "Settings"))
    assert f"| {setting.allowed} |" in line
    assert setting.sentence
    assert line.endswith(f"| {setting.sentence} |")
    assert all(f"`{variable}`" in line for variable in names(name, key))


@pytest.mark.parametrize("key", [*AGENT, *(f"policy.{key}" for key in AGENT_POLICY)])
def test_every_setting_of_an_agent_is_described(key: str) -> None:
    """Its policy has variables of its own."""
    table, setting = ("[[agents]]", AGENT.get(key)) if key in AGENT else ("[agents.policy]", AGENT_POLICY[key[7:]])
    line = row(f"`{key.removeprefix('policy.')}`", entry(f"Section `{table}`", "Settings"))
    assert setting is not None
    assert setting.sentence
    assert line.endswith(f"| {setting.sentence} |")
    variable = agent_name("x", key.removeprefix("policy.")) if key not in AGENT else None
    assert variable is None or f"`{variable.replace('_X_', '_<ID>_')}`" in line


def test_the_variable_that_names_the_file_is_described() -> None:
    """The others of the command line are no settings."""
    assert COMMAND_LINE[0] in section("Settings")


def test_every_link_within_the_page_arrives() -> None:
    """And no two headings share an anchor."""
    headings = re.findall(r"^#+ (.+)$", TEXT, re.MULTILINE)
    anchors = [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings]
    assert len(set(anchors)) == len(anchors)
    assert set(re.findall(r"\]\(#([^)]+)\)", TEXT)) <= set(anchors)


def test_every_link_to_a_file_arrives() -> None:
    """Relative to where the page lies."""
    for target in re.findall(r"\]\(([^)#]+)\)", TEXT):
        assert (generate.ROOT / "rpc_schema" / target).is_file()


def test_every_table_has_as_many_cells_in_each_row() -> None:
    """A bar in a cell is escaped."""
    for table in re.findall(r"(?:^\|.*\|\n)+", TEXT, re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1
