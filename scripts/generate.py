"""Write what is made from the types: `rpc_schema/openrpc.json` and `rpc_schema/REFERENCE.md`.

With `--check` nothing is written; the exit code is 1 when a file is not what it would be.
"""

import argparse
import difflib
import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from scripts.openrpc import document  # noqa: E402  # the root has to be on the path first
from scripts.reference import reference  # noqa: E402


def generated() -> dict[Path, str]:
    """Give each file's text."""
    whole = document()
    return {
        ROOT / "rpc_schema" / "openrpc.json": json.dumps(whole, indent=2, ensure_ascii=False) + "\n",
        ROOT / "rpc_schema" / "REFERENCE.md": reference(whole),
    }


def drift(path: Path, text: str) -> list[str]:
    """Say how a committed file differs; nothing when it does not."""
    committed = path.read_text(encoding="utf-8") if path.exists() else ""
    name = path.relative_to(ROOT).as_posix()
    return list(
        difflib.unified_diff(committed.splitlines(), text.splitlines(), name, f"{name} (generated)", n=1, lineterm="")
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a file is out of date")
    if parser.parse_args().check:
        return _check()
    for path, text in generated().items():
        path.write_text(text, encoding="utf-8")
    return 0


def _check() -> int:
    differences = [line for path, text in generated().items() for line in drift(path, text)]
    if not differences:
        return 0
    print(*differences[:40], sep="\n")
    print(f"{len(differences)} lines of differences; run: make generate")
    return 1


if __name__ == "__main__":
    sys.exit(main())
