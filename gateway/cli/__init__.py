"""The command line, for people and for scripts: stdout is data, stderr is talk.

One file a command; each imports what it needs when it runs, so that the others
start fast. What an exit code means is in `errors`.
"""
