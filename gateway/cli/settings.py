"""The settings as `serve` and `config` take them: read, and tried on the agents."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gateway.agents import kinds
from gateway.config import ConfigError, Loaded, load


def load_settings(config_file: Path | None, flags: Mapping[str, Any]) -> Loaded:
    """Read the settings and see that every agent can be built of its own.

    Raises:
        ConfigError: the settings cannot be used; the message says all that is wrong.
    """
    loaded = load(config_file, os.environ, flags)
    problems = []
    for agent in loaded.settings.agents:
        try:
            kinds.build(agent)
        except ValueError as error:
            source = loaded.sources[f"agents.{agent.id}.kind"].partition(" ")[2]
            problems.append(f"{source}: {error}" if source else str(error))
    if problems:
        raise ConfigError("\n".join(problems))
    return loaded
