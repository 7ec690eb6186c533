"""`python -m gateway`, and the `gateway` command."""

from gateway.cli.main import cli


def main() -> None:
    """Run the command line."""
    cli(prog_name="gateway")


if __name__ == "__main__":
    main()
