"""Hold a conversation with an installed gateway: `check_wheel.py PATH_OF_GATEWAY`.

Run where the source is not on the path, it shows that the wheel has all it needs.
"""

import json
import subprocess
import sys
import tempfile


def main(gateway: str) -> None:
    with tempfile.TemporaryDirectory() as data:
        serve = subprocess.Popen(
            [gateway, "serve", "--port", "0", "--data-dir", data], stdout=subprocess.PIPE, text=True
        )
        try:
            assert serve.stdout is not None
            url = serve.stdout.readline().split()[2]
            params = {"key": "wheel", "content": "hello world", "create": {"agent": "echo"}, "wait": True}
            command = [gateway, "call", "--url", url, "session.send", json.dumps(params)]
            answer = json.loads(subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout)
            assert answer["message"]["content"] == "hello world", answer
        finally:
            serve.terminate()
            assert serve.wait(30) == 0
    print(f"{gateway} answers.")


if __name__ == "__main__":
    main(sys.argv[1])
