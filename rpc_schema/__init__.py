"""The wire: every word that a client of the gateway can say or hear.

Typed with msgspec and nothing else, so that clients can take it as it is.
Start at `registry`: the whole protocol on one screen.
"""
