"""Every knob: its name, unit, default, range and a sentence.

Only shapes; where the values come from is in `config`. Validated once, then
passed on as values: a room gets `outbox_bytes`, not `Settings`.
"""

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

Origin = Annotated[str, Meta(pattern=r"^https?://[^/@\s]+$(?!\n)", title="origins such as https://a.example")]
HostName = Annotated[
    str, Meta(pattern=r"^([A-Za-z0-9._-]+|[0-9a-fA-F:.]+)$(?!\n)", title="names without scheme and port")
]


class _Section(Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """A table of the file."""


class ServerSettings(_Section, kw_only=True, frozen=True):
    """Where the gateway listens and keeps its data."""

    host: Annotated[
        str, Meta(min_length=1, description="Address to listen on; loopback only until a token is made or required.")
    ] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535, description="Port to listen on; 0 picks a free one.")] = 8765
    data_dir: Annotated[str, Meta(min_length=1, description="Directory of the store, made with mode 0700.")] = "./data"
    allowed_origins: Annotated[
        list[Origin],
        Meta(description="Origins that browsers may come from, besides its own: scheme, host and port, exactly."),
    ] = []
    public_hosts: Annotated[
        list[HostName], Meta(description="Names the gateway may be reached by, besides loopback.")
    ] = []
    shutdown_grace_s: Annotated[
        float, Meta(ge=0, le=3600, description="Seconds that running turns get to finish on SIGTERM.")
    ] = 30.0


class StoreSettings(_Section, kw_only=True, frozen=True):
    """What survives a restart."""

    url: Annotated[Literal["sqlite"], Meta(description="`sqlite`: one file in data_dir.")] = "sqlite"


class AuthSettings(_Section, kw_only=True, frozen=True):
    """Who may call. Tokens are made by `gateway token create` and kept in the store."""

    required: Annotated[
        bool,
        Meta(
            description="Whether callers must show a token before any was made;"
            " once one was, they must, whatever this says."
        ),
    ] = False


class LimitSettings(_Section, kw_only=True, frozen=True):
    """Bounds; clients read them from gateway.hello."""

    max_message_bytes: Annotated[
        int, Meta(ge=65536, le=67108864, description="Bytes of one message or batch from a client.")
    ] = 1048576
    max_response_bytes: Annotated[int, Meta(ge=65536, le=67108864, description="Bytes of one message to a client.")] = (
        8388608
    )
    batch_items: Annotated[int, Meta(ge=1, le=1000, description="Requests in one batch.")] = 50
    requests_in_flight: Annotated[int, Meta(ge=1, le=10000, description="Unanswered requests per connection.")] = 64
    subscriptions_per_connection: Annotated[int, Meta(ge=1, le=100000, description="Subscriptions per connection.")] = (
        256
    )
    nesting_depth: Annotated[
        int, Meta(ge=8, le=512, description="Arrays and objects inside each other in one message.")
    ] = 64
    content_characters: Annotated[int, Meta(ge=1, le=10000000, description="Characters of one chat message.")] = 100000
    metadata_bytes: Annotated[int, Meta(ge=0, le=1048576, description="Bytes of metadata as JSON.")] = 10240
    queued_turns: Annotated[int, Meta(ge=0, le=1000, description="Messages that may wait in one session.")] = 20
    output_bytes: Annotated[
        int, Meta(ge=1024, le=4194304, description="Bytes of one turn's answer; past it the answer is cut.")
    ] = 1048576
    outbox_bytes: Annotated[
        int,
        Meta(
            ge=65536,
            le=1073741824,
            description="Bytes that may wait for one slow reader, besides the kernel's buffers.",
        ),
    ] = 8388608


Minutes = Annotated[float, Meta(gt=0, le=5256000)]
Days = Annotated[float, Meta(gt=0, le=3650)]
Threshold = Annotated[float, Meta(ge=0, le=5256000)]
Count = Annotated[int, Meta(ge=1, le=1000000)]


class PolicySettings(_Section, kw_only=True, frozen=True):
    """The rules a session lives by, where it and its agent say nothing else."""

    timeout_minutes: Annotated[Minutes, Meta(description="Minutes without activity until a session ends.")] = 30.0
    max_duration_minutes: Annotated[
        Minutes, Meta(description="Minutes after which a session ends whatever happens.")
    ] = 720.0
    warning_threshold_minutes: Annotated[
        Threshold, Meta(description="Minutes before the end at which a session is near expiration.")
    ] = 5.0
    idle_after_minutes: (
        Annotated[
            Minutes,
            Meta(description="Minutes without activity until a session is idle; default: 5, or half the timeout."),
        ]
        | None
    ) = None
    auto_renew: Annotated[bool, Meta(description="Whether activity moves the end.")] = True
    max_concurrent_per_user: (
        Annotated[Count, Meta(description="Sessions of one user with one agent that have not ended; none: unlimited.")]
        | None
    ) = None
    auto_archive_days: (
        Annotated[Days, Meta(description="Days after its end that a session is archived; none: never.")] | None
    ) = 30.0
    allow_model_override: Annotated[bool, Meta(description="Whether an admin may choose a session's model.")] = False
    min_timeout_minutes: Annotated[Minutes, Meta(description="Smallest timeout a session may ask for.")] = 5.0
    max_timeout_minutes: Annotated[Minutes, Meta(description="Largest timeout a session may ask for.")] = 1440.0


class AgentPolicySettings(_Section, kw_only=True, frozen=True):
    """What differs from [policy] for one agent; what is not said is as there."""

    timeout_minutes: Minutes | UnsetType = UNSET
    max_duration_minutes: Minutes | UnsetType = UNSET
    warning_threshold_minutes: Threshold | UnsetType = UNSET
    idle_after_minutes: Minutes | UnsetType | None = UNSET
    auto_renew: bool | UnsetType = UNSET
    max_concurrent_per_user: Count | UnsetType | None = UNSET
    auto_archive_days: Days | UnsetType | None = UNSET
    allow_model_override: bool | UnsetType = UNSET


class AgentSettings(_Section, kw_only=True, frozen=True):
    """One agent. `echo` is always there, unless one with that id replaces it."""

    id: Annotated[
        str,
        Meta(
            pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$(?!\n)",
            title="at most 64 of a-z, 0-9 and `_.-`",
            description="The word that sessions name it by: lower-case letters, digits, `_.-`.",
        ),
    ]
    kind: Annotated[
        Literal["echo", "openai"],
        Meta(description="`echo`: built in; `openai`: any server that speaks the Chat Completions stream."),
    ]
    name: Annotated[str, Meta(description="What people see; by default the id, capitalised.")] = ""
    description: Annotated[str, Meta(description="One sentence for people who choose.")] = ""
    owner: Annotated[str, Meta(description="User who may do everything on every session of this agent.")] = ""
    provider: Annotated[str, Meta(description="A label for people, prices and lists; by default the kind.")] = ""
    model: Annotated[str, Meta(description="The model to ask for.")] = ""
    base_url: Annotated[str, Meta(description="Where the server is; default: the maker's own.")] = ""
    api_key_env: Annotated[str, Meta(description="Environment variable with the API key; empty: no key is sent.")] = ""
    system: Annotated[str, Meta(description="System prompt.")] = ""
    options: Annotated[
        dict[str, Any],
        Meta(
            description="echo: `delay_ms` per word. openai: further members of each request, such as temperature;"
            " `silence_s`, seconds without a byte after which a turn fails (120)."
        ),
    ] = {}
    policy: AgentPolicySettings = AgentPolicySettings()


class LogSettings(_Section, kw_only=True, frozen=True):
    """What goes to stderr."""

    format: Annotated[Literal["json", "console"], Meta(description="json: one object a line; console: for people.")] = (
        "json"
    )
    level: Annotated[Literal["debug", "info", "warning"], Meta(description="The least that is said.")] = "info"


class Settings(_Section, kw_only=True, frozen=True):
    """The whole file."""

    server: ServerSettings = ServerSettings()
    store: StoreSettings = StoreSettings()
    auth: AuthSettings = AuthSettings()
    limits: LimitSettings = LimitSettings()
    policy: PolicySettings = PolicySettings()
    log: LogSettings = LogSettings()
    agents: list[AgentSettings] = []
