"""Run the stand-in by hand: ``python -m modal_server --port 9500 --state FOLDER``."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading

from modal_server.server import ModalServer


def main() -> None:
    """Serve until SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m modal_server")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--state", help="a folder for volumes and uploads; a temporary one if left out")
    options = parser.parse_args()
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    with ModalServer(options.state, port=options.port) as server:
        about = {"url": server.url, "isolated": server.isolated, "environment": server.environment()}
        sys.stdout.write(json.dumps(about) + "\n")
        sys.stdout.flush()
        ended.wait()


if __name__ == "__main__":
    main()
