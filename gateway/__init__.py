"""The gateway: holds conversations between people and agents. `README.md` here is the map."""

__version__ = "0.1.0"
