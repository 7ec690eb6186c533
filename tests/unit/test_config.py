"""Where settings come from, which word counts, and what a wrong one is told."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from gateway.config import ConfigError, Loaded, describe, environment, flag_name, load
from gateway.config.values import SETTINGS
from gateway.settings import AgentPolicySettings, AgentSettings, Settings

ANY_FOLDER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
GARBAGE = ["1,000", "abc", "nan", "inf", "-inf", "-5", "", " ", "5m", "0x10", "1_0", "٣", "1e999", "true"]
MINUTES = [
    "SESSION_DEFAULT_TIMEOUT_MINUTES",
    "SESSION_MIN_TIMEOUT_MINUTES",
    "SESSION_MAX_TIMEOUT_MINUTES",
    "SESSION_MAX_DURATION_MINUTES",
    "SESSION_WARNING_THRESHOLD_MINUTES",
    "AGENT_ECHO_SESSION_TIMEOUT_MINUTES",
    "AGENT_ECHO_SESSION_MAX_DURATION_MINUTES",
    "AGENT_ECHO_SESSION_WARNING_THRESHOLD_MINUTES",
]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder, where no gateway.toml lies about."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def from_file(text: str, environ: Mapping[str, str] | None = None, flags: Mapping[str, Any] | None = None) -> Loaded:
    Path("gateway.toml").write_text(text, encoding="utf-8")
    return load(None, environ or {}, flags or {})


def refusal(text: str = "", environ: Mapping[str, str] | None = None, flags: Mapping[str, Any] | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        from_file(text, environ, flags)
    return str(caught.value)


def agent(loaded: Loaded, id: str) -> AgentSettings:
    return next(agent for agent in loaded.settings.agents if agent.id == id)


# Sources and their order


def test_nothing_said_is_the_defaults_and_the_echo_agent() -> None:
    """A gateway without any configuration has the defaults of the reference, and an agent to talk to."""
    loaded = load(None, {}, {})
    echo = AgentSettings(id="echo", kind="echo", name="Echo", provider="echo", options={"delay_ms": 20})
    assert loaded.settings == Settings(agents=[echo])
    assert set(loaded.sources.values()) == {"default"}


def test_a_later_source_wins_and_the_source_is_told() -> None:
    """Flags over environment over file over defaults, key by key."""
    loaded = from_file(
        '[server]\nport = 1\ndata_dir = "/a"\nhost = "::1"\n',
        {"GATEWAY_PORT": "2", "GATEWAY_DATA_DIR": "/b"},
        {"server.port": 3, "server.host": None},
    )
    server = loaded.settings.server
    assert (server.port, server.data_dir, server.host) == (3, "/b", "::1")
    assert loaded.sources["server.port"] == "flag --port"
    assert loaded.sources["server.data_dir"] == "environment GATEWAY_DATA_DIR"
    assert loaded.sources["server.host"] == "file gateway.toml"
    assert loaded.sources["server.shutdown_grace_s"] == "default"


def test_the_file_is_the_named_one_then_the_environments_then_the_folders(folder: Path) -> None:
    """--config beats GATEWAY_CONFIG beats ./gateway.toml, and only one is read."""
    for name, port in (("gateway.toml", 1), ("env.toml", 2), ("flag.toml", 3)):
        (folder / name).write_text(f"[server]\nport = {port}\n")
    environ = {"GATEWAY_CONFIG": "env.toml"}
    assert load(None, {}, {}).settings.server.port == 1
    assert load(None, environ, {}).settings.server.port == 2
    loaded = load(Path("flag.toml"), environ, {})
    assert loaded.settings.server.port == 3
    assert loaded.sources["server.port"] == "file flag.toml"


def test_a_named_file_that_is_not_there_is_an_error_that_says_who_named_it() -> None:
    """Only ./gateway.toml may be missing."""
    with pytest.raises(ConfigError, match=r"^--config: gone\.toml must be a file that can be read: No such file"):
        load(Path("gone.toml"), {}, {})
    with pytest.raises(ConfigError, match=r"^GATEWAY_CONFIG: gone\.toml must be a file"):
        load(None, {"GATEWAY_CONFIG": "gone.toml"}, {})


def test_a_folder_instead_of_a_file_is_an_error(folder: Path) -> None:
    """What cannot be read is said in the words of the system."""
    with pytest.raises(ConfigError, match=r"must be a file that can be read: Is a directory"):
        load(folder, {}, {})


def test_a_relative_data_dir_stays_relative_to_where_the_gateway_starts() -> None:
    """Not to the file's folder."""
    assert from_file('[server]\ndata_dir = "state"\n').settings.server.data_dir == "state"


# The file


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("[server]\nport == 3\n", "gateway.toml, line 2, column 7: invalid value"),
        ("[server]\nport = [1,\n", "gateway.toml, line 3, column 1: invalid value"),
        ("[server\n", "gateway.toml, line 1, column 8: expected ']' at the end of a table declaration"),
        ("a = '", 'gateway.toml, line 1, column 6: expected "\'"'),
        ("x = " + "9" * 5000, "gateway.toml: a number is too long or arrays are nested too deep"),
        ("x = " + "[" * 3000, "gateway.toml: a number is too long or arrays are nested too deep"),
    ],
)
def test_a_slip_of_syntax_is_told_with_line_and_column(text: str, place: str) -> None:
    """The file, the line and the column come first."""
    assert refusal(text) == place


def test_a_file_in_another_encoding_is_refused(folder: Path) -> None:
    """TOML is UTF-8."""
    (folder / "gateway.toml").write_bytes(b'[server]\ndata_dir = "caf\xe9"\n')
    with pytest.raises(ConfigError, match=r"^gateway\.toml: must be UTF-8, byte 24 is not$"):
        load(None, {}, {})


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[server]\nport = 70000", "gateway.toml: server.port must be an integer from 0 to 65535, got 70000"),
        ("[server]\nport = true", "gateway.toml: server.port must be an integer from 0 to 65535, got true"),
        ('[server]\nport = "80"', 'gateway.toml: server.port must be an integer from 0 to 65535, got "80"'),
        ('[server]\ndata_dir = ""', 'gateway.toml: server.data_dir must be a string that is not empty, got ""'),
        (
            "[server]\nallowed_origins = [1]",
            "gateway.toml: server.allowed_origins must be a list of origins such as https://a.example, got a list",
        ),
        ("[policy]\nauto_renew = 1", "gateway.toml: policy.auto_renew must be true or false, got 1"),
        (
            "[policy]\ntimeout_minutes = nan",
            "gateway.toml: policy.timeout_minutes must be a number above 0 and at most 5256000, got nan",
        ),
        (
            "[policy]\ntimeout_minutes = inf",
            "gateway.toml: policy.timeout_minutes must be a number above 0 and at most 5256000, got inf",
        ),
        (
            "[policy]\ntimeout_minutes = 0",
            "gateway.toml: policy.timeout_minutes must be a number above 0 and at most 5256000, got 0",
        ),
        (
            "[policy]\nmax_concurrent_per_user = 0",
            'gateway.toml: policy.max_concurrent_per_user must be an integer from 1 to 1000000, or "none", got 0',
        ),
        ('[log]\nlevel = "loud"', 'gateway.toml: log.level must be "debug" or "info" or "warning", got "loud"'),
        ("[log]\nlevel = {}", 'gateway.toml: log.level must be "debug" or "info" or "warning", got a table'),
        ('[store]\nurl = "mysql"', 'gateway.toml: store.url must be "sqlite", got "mysql"'),
        ("[server]\nprot = 1", "gateway.toml: there is no setting server.prot; did you mean `port`?"),
        ("[log]\nx = 1", "gateway.toml: there is no setting log.x; allowed: format, level"),
        ("[polcy]", "gateway.toml: there is no section polcy; did you mean `policy`?"),
        ("port = 1", "gateway.toml: there is no section port; did you mean `server.port`?"),
        ("server = 1", "gateway.toml: server must be a table, got 1"),
        ("[agents]\nid = 'a'", "gateway.toml: agents must be tables, each under [[agents]], got a table"),
        ("agents = [1]", "gateway.toml: agents must be tables, each under [[agents]], got a list"),
    ],
)
def test_a_wrong_key_or_value_is_told_with_file_key_and_what_is_allowed(text: str, sentence: str) -> None:
    """One sentence is enough to put it right."""
    assert refusal(text) == sentence


def test_all_that_is_wrong_is_told_at_once() -> None:
    """Nobody repairs a file one start at a time, and the environment and the flags are in the same list."""
    told = refusal(
        "[server]\nport = -1\nhots = 'x'\n[policy]\ntimeout_minutes = nan\n",
        {"GATEWAY_LOG_LEVEL": "loud"},
        {"server.port": 70000},
    )
    assert [line.split(":")[0] for line in told.splitlines()] == [
        "gateway.toml",
        "gateway.toml",
        "gateway.toml",
        "GATEWAY_LOG_LEVEL",
        "--port",
    ]


def test_a_long_wrong_value_is_shortened() -> None:
    """An error stays a line."""
    assert len(refusal(f"[log]\nlevel = '{'x' * 500}'")) < 140


def test_none_stands_for_no_limit() -> None:
    """TOML has no null, so the word says it, in the file and in the environment."""
    loaded = from_file('[policy]\nauto_archive_days = "none"\n', {"GATEWAY_POLICY_IDLE_AFTER_MINUTES": "none"})
    assert loaded.settings.policy.auto_archive_days is None
    assert loaded.settings.policy.idle_after_minutes is None


# Agents


def test_an_agent_gets_its_name_and_provider_from_id_and_kind() -> None:
    """What is not said is filled in, so that nobody further down has to."""
    loaded = from_file(
        '[[agents]]\nid = "support"\nkind = "openai"\nmodel = "m"\nprovider = ""\n[agents.policy]\nauto_renew = false\n'
    )
    assert [agent.id for agent in loaded.settings.agents] == ["echo", "support"]
    support = agent(loaded, "support")
    assert (support.name, support.provider, support.policy.auto_renew) == ("Support", "openai", False)
    assert loaded.sources["agents.support.model"] == "file gateway.toml"
    assert loaded.sources["agents.support.name"] == "default"
    assert loaded.sources["agents.support.policy.auto_renew"] == "file gateway.toml"


def test_an_agent_with_the_id_echo_replaces_the_built_in_one() -> None:
    """Nothing of the built-in one shines through."""
    loaded = from_file('[[agents]]\nid = "echo"\nkind = "echo"\n')
    assert loaded.settings.agents == [AgentSettings(id="echo", kind="echo", name="Echo", provider="echo")]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "id = 'Support'\nkind = 'echo'",
            'gateway.toml: id of agent 1 must be at most 64 of a-z, 0-9 and `_.-`, got "Support"',
        ),
        (
            "kind = 'echo'",
            "gateway.toml: id of agent 1 must be at most 64 of a-z, 0-9 and `_.-`, got nothing",
        ),
        ("id = 'a'", 'gateway.toml: agents.a.kind must be "echo" or "openai", got nothing'),
        ("id = 'a'\nkind = 'acp'", 'gateway.toml: agents.a.kind must be "echo" or "openai", got "acp"'),
        (
            "id = 'a'\nkind = 'echo'\nmodle = 'm'",
            "gateway.toml: there is no setting agents.a.modle; did you mean `model`?",
        ),
        (
            "id = 'a'\nkind = 'echo'\npolicy = { timeout_minuts = 3 }",
            "gateway.toml: there is no setting agents.a.policy.timeout_minuts; did you mean `timeout_minutes`?",
        ),
        ("id = 'a'\nkind = 'echo'\npolicy = 3", "gateway.toml: agents.a.policy must be a table, got 3"),
        (
            "id = 'a'\nkind = 'echo'\npolicy = { auto_archive_days = 'never' }",
            "gateway.toml: agents.a.policy.auto_archive_days must be a number above 0 and at most 3650,"
            ' or "none", got "never"',
        ),
        (
            "id = 'a'\nkind = 'echo'\n[[agents]]\nid = 'a'\nkind = 'echo'",
            "gateway.toml: agents.a is there twice; each id must be another",
        ),
        (
            "id = 'a'\nkind = 'openai'",
            "agents.a.model (file gateway.toml) must be set: kind openai has no model of its own",
        ),
        (
            "id = 'a'\nkind = 'openai'\nmodel = 'm'\noptions = { top = [0.5, nan] }",
            "gateway.toml: agents.a.options must be a table without nan or inf, got a table",
        ),
    ],
)
def test_a_wrong_agent_is_told_by_its_id(text: str, sentence: str) -> None:
    """Or by its place in the file while it has none."""
    assert refusal("[[agents]]\n" + text) == sentence


def test_a_key_in_the_place_of_its_variables_name_is_not_repeated() -> None:
    """An error ends up in logs; a pasted key must not."""
    told = refusal("[[agents]]\nid = 'a'\nkind = 'openai'\nmodel = 'm'\napi_key_env = 'sk-proj-123'\n")
    assert told.startswith("agents.a.api_key_env (file gateway.toml) must be the name of an environment variable")
    assert "123" not in told


# The environment


def _another(key: str) -> Any:
    """Give a value that the key takes and that is not its default."""
    section, name = key.split(".")
    default = SETTINGS[section][name].default
    special = {
        "server.host": "::1",
        "store.url": "sqlite",
        "log.format": "console",
        "log.level": "debug",
        "policy.idle_after_minutes": 6.5,
        "policy.max_concurrent_per_user": 3,
        "server.allowed_origins": ["https://a.example:8443", "http://b"],
        "server.public_hosts": ["a.example", "b"],
    }
    match default:
        case _ if key in special:
            return special[key]
        case bool():
            return not default
        case int() | float():
            return default + 1
        case _:
            return "other"


def _text(value: Any) -> str:
    return ",".join(value) if isinstance(value, list) else str(value)


def _get(loaded: Loaded, key: str) -> Any:
    section, name = key.split(".")
    return getattr(getattr(loaded.settings, section), name)


KEYS = [f"{section}.{key}" for section, known in SETTINGS.items() for key in known]


@pytest.mark.parametrize("key", KEYS)
def test_every_setting_can_be_said_in_every_source(key: str) -> None:
    """The file, each of its variables and its flag mean the same value."""
    section, name = key.split(".")
    value = _another(key)
    assert _get(from_file(f"[{section}]\n{name} = {json.dumps(value)}\n"), key) == value
    Path("gateway.toml").unlink()
    variables = environment.names(section, name)
    assert f"GATEWAY_{section}_{name}".upper() in variables
    for variable in variables:
        loaded = load(None, {variable: _text(value)}, {})
        assert _get(loaded, key) == value
        assert loaded.sources[key] == f"environment {variable}"
    for said in (value, _text(value)):
        loaded = load(None, {}, {key: said})
        assert _get(loaded, key) == value
        assert loaded.sources[key] == f"flag {flag_name(key)}"


def test_settings_of_the_server_need_no_section_in_the_environment() -> None:
    """GATEWAY_PORT, as everybody would guess."""
    assert environment.names("server", "port") == ["GATEWAY_SERVER_PORT", "GATEWAY_PORT"]


@pytest.mark.parametrize(
    ("variable", "key"),
    [
        ("SESSION_DEFAULT_TIMEOUT_MINUTES", "timeout_minutes"),
        ("SESSION_MIN_TIMEOUT_MINUTES", "min_timeout_minutes"),
        ("SESSION_MAX_TIMEOUT_MINUTES", "max_timeout_minutes"),
        ("SESSION_MAX_DURATION_MINUTES", "max_duration_minutes"),
        ("SESSION_WARNING_THRESHOLD_MINUTES", "warning_threshold_minutes"),
    ],
)
def test_the_session_names_are_words_for_the_policy(variable: str, key: str) -> None:
    """With fractions, as everywhere."""
    assert getattr(load(None, {variable: "29.5"}, {}).settings.policy, key) == 29.5


def test_each_agent_has_variables_of_its_own() -> None:
    """The id in capitals, other characters as `_`; the built-in echo agent too."""
    loaded = from_file(
        '[[agents]]\nid = "gpt-5.mini"\nkind = "openai"\nmodel = "m"\n',
        {
            "AGENT_GPT_5_MINI_SESSION_TIMEOUT_MINUTES": "7.5",
            "AGENT_GPT_5_MINI_SESSION_MAX_DURATION_MINUTES": "60",
            "AGENT_GPT_5_MINI_SESSION_WARNING_THRESHOLD_MINUTES": "1",
            "AGENT_ECHO_SESSION_AUTO_RENEW": "no",
        },
    )
    assert agent(loaded, "gpt-5.mini").policy == AgentPolicySettings(
        timeout_minutes=7.5, max_duration_minutes=60, warning_threshold_minutes=1
    )
    assert agent(loaded, "echo").policy == AgentPolicySettings(auto_renew=False)
    assert agent(loaded, "echo").options == {"delay_ms": 20}
    assert loaded.sources["agents.echo.policy.auto_renew"] == "environment AGENT_ECHO_SESSION_AUTO_RENEW"


@pytest.mark.parametrize("text", ["true", "1", "yes", "on", "True", " ON "])
def test_there_are_many_words_for_yes(text: str) -> None:
    """In any case, with spaces around."""
    assert load(None, {"GATEWAY_POLICY_ALLOW_MODEL_OVERRIDE": text}, {}).settings.policy.allow_model_override is True


@pytest.mark.parametrize("text", ["false", "0", "no", "off", "FALSE", "Off"])
def test_there_are_many_words_for_no(text: str) -> None:
    """In any case."""
    assert load(None, {"GATEWAY_POLICY_AUTO_RENEW": text}, {}).settings.policy.auto_renew is False


def test_a_list_in_the_environment_is_parted_by_commas() -> None:
    """Spaces around a part do not count, and nothing is an empty list."""
    environ = {"GATEWAY_ALLOWED_ORIGINS": "https://a.example, http://b:3000 ,", "GATEWAY_PUBLIC_HOSTS": ""}
    server = load(None, environ, {}).settings.server
    assert server.allowed_origins == ["https://a.example", "http://b:3000"]
    assert server.public_hosts == []


@pytest.mark.parametrize("variable", MINUTES)
@pytest.mark.parametrize("text", GARBAGE)
def test_garbage_for_minutes_is_told_with_the_variable(variable: str, text: str) -> None:
    """Nothing is guessed from what is not a plain number above 0, and nothing falls back to the default."""
    told = refusal(environ={variable: text})
    assert told.startswith(f"{variable}: ")
    assert "must be a number " in told
    assert told.endswith(f"got {json.dumps(text, ensure_ascii=False)}") or "got -5" in told or "got inf" in told


@pytest.mark.parametrize("variable", [name for name in MINUTES if "WARNING" not in name])
def test_zero_minutes_are_garbage_but_for_the_warning(variable: str) -> None:
    """A session that lives for no time is a slip; a warning that never comes is a choice."""
    assert "must be a number above 0" in refusal(environ={variable: "0"})


def test_garbage_for_a_boolean_is_told() -> None:
    """With what is allowed."""
    told = refusal(environ={"AGENT_ECHO_SESSION_AUTO_RENEW": "maybe"})
    assert told == 'AGENT_ECHO_SESSION_AUTO_RENEW: agents.echo.policy.auto_renew must be true or false, got "maybe"'


@pytest.mark.parametrize(
    ("variable", "sentence"),
    [
        ("GATEWAY_PROT", "GATEWAY_PROT: there is no such setting; did you mean `GATEWAY_PORT`?"),
        (
            "GATEWAY_MAX_MESSAGE_BYTES",
            "GATEWAY_MAX_MESSAGE_BYTES: there is no such setting; did you mean `GATEWAY_LIMITS_MAX_MESSAGE_BYTES`?",
        ),
        ("GATEWAY_FLAVOUR", "GATEWAY_FLAVOUR: there is no such setting; allowed: GATEWAY_<SECTION>_<KEY> of a setting"),
        (
            "SESSION_TIMEOUT_MINUTES",
            "SESSION_TIMEOUT_MINUTES: there is no such setting; did you mean `SESSION_MIN_TIMEOUT_MINUTES`?",
        ),
        (
            "AGENT_ECO_SESSION_AUTO_RENEW",
            "AGENT_ECO_SESSION_AUTO_RENEW: there is no such agent; did you mean `ECHO`?",
        ),
    ],
)
def test_a_slip_in_a_name_is_told(variable: str, sentence: str) -> None:
    """A variable that was meant for the gateway is never ignored."""
    assert refusal(environ={variable: "5"}) == sentence


@pytest.mark.parametrize(
    "variable",
    ["GATEWAY_CONFIG", "GATEWAY_URL", "GATEWAY_TOKEN", "SESSION_MANAGER", "AGENT_NAME", "AGENT_ECHO_COLOUR", "PORT"],
)
def test_other_peoples_variables_are_left_alone(variable: str) -> None:
    """And so are those of the command line."""
    Path("gateway.toml").touch()
    assert set(load(None, {variable: "gateway.toml"}, {}).sources.values()) == {"default"}


def test_two_variables_may_not_say_different_things() -> None:
    """Which one would count is nothing to learn by heart; the same word twice is no harm."""
    told = refusal(environ={"GATEWAY_PORT": "1", "GATEWAY_SERVER_PORT": "2"})
    assert told == "GATEWAY_PORT and GATEWAY_SERVER_PORT: both say server.port; set one of them"
    assert load(None, {"GATEWAY_PORT": "1", "GATEWAY_SERVER_PORT": "1"}, {}).settings.server.port == 1


# Flags


def test_flags_have_the_names_of_the_command_line() -> None:
    """Settings of the server by their own name, others with their section."""
    assert flag_name("server.data_dir") == "--data-dir"
    assert flag_name("store.url") == "--store"
    assert flag_name("log.format") == "--log-format"


def test_a_wrong_flag_is_told_by_its_name() -> None:
    """Whether the command line gave a text or a number."""
    for value in (99999, "99999"):
        assert refusal(flags={"server.port": value}) == (
            "--port: server.port must be an integer from 0 to 65535, got 99999"
            if isinstance(value, int)
            else '--port: server.port must be an integer from 0 to 65535, got "99999"'
        )


# Settings that disagree


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "localhost", "LocalHost"])
def test_a_loopback_host_is_taken(host: str) -> None:
    """By address or by name."""
    assert load(None, {"GATEWAY_HOST": host}, {}).settings.server.host == host


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.7", "example.org"])
def test_any_other_host_is_for_the_start_to_judge(host: str) -> None:
    """Whether there are tokens stands in the store; see tests/e2e/auth."""
    assert load(None, {"GATEWAY_AUTH_REQUIRED": "yes"}, {"server.host": host}).settings.auth.required


@pytest.mark.parametrize(
    ("policy", "sentence"),
    [
        (
            "min_timeout_minutes = 50\nmax_timeout_minutes = 40",
            "policy.min_timeout_minutes (file gateway.toml) must be at most 40, "
            "which is policy.max_timeout_minutes (file gateway.toml), got 50",
        ),
        (
            "timeout_minutes = 4.5",
            "policy.timeout_minutes (file gateway.toml) must be from 5 to 1440, "
            "which are policy.min_timeout_minutes (default) and policy.max_timeout_minutes (default), got 4.5",
        ),
        (
            "max_timeout_minutes = 20\nmax_duration_minutes = 41",
            "policy.max_duration_minutes (file gateway.toml) must be from 5 to 40, which are "
            "policy.min_timeout_minutes (default) and twice policy.max_timeout_minutes (file gateway.toml), got 41",
        ),
        (
            "idle_after_minutes = 31",
            "policy.idle_after_minutes (file gateway.toml) must be at most 30, "
            "which is policy.timeout_minutes (default), got 31",
        ),
    ],
)
def test_policy_values_that_disagree_are_told_with_both_sources(policy: str, sentence: str) -> None:
    """So that it is clear which of the two to change."""
    assert refusal(f"[policy]\n{policy}\n") == sentence


def test_an_agents_policy_must_agree_with_the_gateways() -> None:
    """It is told once, by the agent's key where the agent says it and the gateway's where that shines through."""
    told = refusal("[policy]\nidle_after_minutes = 20\n", {"AGENT_ECHO_SESSION_TIMEOUT_MINUTES": "10"})
    assert told == (
        "policy.idle_after_minutes (file gateway.toml) must be at most 10, which is "
        "agents.echo.policy.timeout_minutes (environment AGENT_ECHO_SESSION_TIMEOUT_MINUTES), got 20"
    )


def test_a_default_gives_way_to_bounds_that_somebody_said() -> None:
    """One variable is enough to allow only short sessions, or only long ones."""
    short = load(None, {"SESSION_MAX_TIMEOUT_MINUTES": "20"}, {}).settings.policy
    assert (short.timeout_minutes, short.max_duration_minutes) == (20, 40)
    long = load(None, {"SESSION_MIN_TIMEOUT_MINUTES": "1000"}, {}).settings.policy
    assert (long.timeout_minutes, long.max_duration_minutes) == (1000, 1000)


def test_the_bounds_themselves_are_allowed() -> None:
    """MIN and MAX for a timeout, twice MAX for a duration, the timeout for idling."""
    policy = "timeout_minutes = 5\nidle_after_minutes = 5\nmax_duration_minutes = 2880\nwarning_threshold_minutes = 0\n"
    assert from_file(f"[policy]\n{policy}").settings.policy.max_duration_minutes == 2880


# Showing them


def test_describe_gives_every_setting_with_its_source() -> None:
    """The table of `gateway config show`."""
    rows = describe(from_file("[server]\nport = 0\n", {"AGENT_ECHO_SESSION_AUTO_RENEW": "off"}))
    assert [key for key, _, _ in rows][: len(KEYS)] == KEYS
    assert ("server.port", 0, "file gateway.toml") in rows
    assert ("agents.echo.kind", "echo", "default") in rows
    assert ("agents.echo.policy.auto_renew", False, "environment AGENT_ECHO_SESSION_AUTO_RENEW") in rows
    assert not any(key == "agents.echo.policy.timeout_minutes" for key, _, _ in rows)


def test_describe_masks_secrets_among_the_options() -> None:
    """At any depth; the names of variables and harmless numbers stay readable."""
    loaded = from_file(
        '[[agents]]\nid = "a"\nkind = "openai"\nmodel = "m"\napi_key_env = "KEY"\n'
        'options = { max_tokens = 5, extra = [{ "X-Api-Key" = "s1", Authorization = "s2" }], client_secret = "s3" }\n'
    )
    values = {key: value for key, value, _ in describe(loaded)}
    assert values["agents.a.api_key_env"] == "KEY"
    assert values["agents.a.options"] == {
        "max_tokens": 5,
        "extra": [{"X-Api-Key": "***", "Authorization": "***"}],
        "client_secret": "***",
    }


# Inputs that nobody thought of


@ANY_FOLDER
@given(text=st.text() | st.from_regex(r"[-+]?[0-9.eE_]{1,12}", fullmatch=True))
@example("1e400")
def test_any_text_for_a_number_is_that_number_or_refused(text: str) -> None:
    """And it is never taken for another one."""
    try:
        taken = load(None, {"GATEWAY_SHUTDOWN_GRACE_S": text}, {}).settings.server.shutdown_grace_s
    except ConfigError as error:
        assert str(error).startswith("GATEWAY_SHUTDOWN_GRACE_S: server.shutdown_grace_s must be a number from 0")
    else:
        assert math.isfinite(taken)
        assert taken == float(text)
        assert 0 <= taken <= 3600


@ANY_FOLDER
@given(text=st.text() | st.lists(st.sampled_from(["[server]", "[[agents]]", "port=", "id='a'", "=", "{", "'", "9"])))
def test_any_file_is_read_or_refused_by_its_name(text: str | list[str]) -> None:
    """No content of a file makes anything but a ConfigError."""
    Path("gateway.toml").write_text(text if isinstance(text, str) else "\n".join(text), encoding="utf-8")
    try:
        load(None, {}, {})
    except ConfigError as error:
        assert all("gateway.toml" in line or " (default) " in line for line in str(error).splitlines())


_toml = st.recursive(
    st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(value=_toml, key=st.sampled_from(KEYS))
def test_any_value_is_taken_as_it_is_or_refused(value: Any, key: str) -> None:
    """Nothing is converted on the way but whole numbers to fractions, and nan and inf never pass."""
    section, name = key.split(".")
    setting = SETTINGS[section][name]
    try:
        taken = setting.accept(value)
    except ValueError as refused:
        assert str(refused) == setting.allowed
    else:
        assert taken == value or (taken is None and value == "none")
        assert not (isinstance(taken, float) and not math.isfinite(taken))
