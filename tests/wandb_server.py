"""As much of a W&B server, on loopback, as online runs and resumed ones need; and servers that fail."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Server(ThreadingHTTPServer):
    """Keeps the rows of every run at the place that the client gives them."""

    daemon_threads = True

    def __init__(self, hang: float = 0.0) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.hang = hang
        self.runs: dict[str, dict[str, Any]] = {}
        self.rows: dict[str, dict[int, dict[str, Any]]] = {}
        self.sent_twice: list[tuple[str, int]] = []
        self.summaries: dict[str, dict[str, Any]] = {}
        self.complete: dict[str, int] = {}

    def handle_error(self, *_arguments: object) -> None:
        """Clients that were killed break connections off."""

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def take_rows(self, run: str, offset: int, lines: list[str]) -> None:
        """Keep rows of history."""
        rows = self.rows.setdefault(run, {})
        for number, line in enumerate(lines, start=offset):
            if number in rows:
                self.sent_twice.append((run, number))
            rows[number] = json.loads(line)

    def history(self, run: str) -> list[dict[str, Any]]:
        """The rows of a run without what W&B adds."""
        rows = self.rows.get(run, {})
        return [{k: v for k, v in rows[i].items() if not k.startswith("_")} for i in sorted(rows)]


class _Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _answer(self, value: object) -> None:
        data = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self) -> None:
        """Answer anything."""
        time.sleep(self.server.hang)
        self._answer({})

    def do_PUT(self) -> None:
        """Take an upload."""
        self._body()
        self._answer({})

    def do_POST(self) -> None:
        """Take a question in GraphQL, or a piece of a run."""
        time.sleep(self.server.hang)
        try:
            body = json.loads(self._body() or b"{}")
        except ValueError:  # wandb's telemetry of itself
            body = {}
        stream = re.match(r"/files/[^/]+/[^/]+/([^/]+)/file_stream", self.path)
        if stream:
            self._take(stream[1], body)
            self._answer({"limits": {}})
        else:
            self._answer({"data": self._data(body)})

    def _take(self, run: str, body: dict[str, Any]) -> None:
        for name, piece in (body.get("files") or {}).items():
            lines = piece.get("content", [])
            if name == "wandb-history.jsonl":
                self.server.take_rows(run, piece.get("offset", 0), lines)
            elif name == "wandb-summary.json" and lines:
                self.server.summaries[run] = json.loads(lines[-1])
        if body.get("complete"):
            self.server.complete[run] = body.get("exitcode", 0)

    def _data(self, body: dict[str, Any]) -> dict[str, Any]:
        found = re.search(r"(?:query|mutation)\s+(\w+)", body.get("query", ""))
        operation, given = found[1] if found else "", body.get("variables") or {}
        if operation == "UpsertBucket":
            name = str(given.get("name"))
            self.server.runs[name] = {
                **self.server.runs.get(name, {}),
                **{key: value for key, value in given.items() if value is not None},
            }
            return {"upsertBucket": {"bucket": self._bucket(name), "inserted": True}}
        if operation in ("RunResumeStatus", "RunStatus"):
            name = str(given.get("name"))
            bucket = self._bucket(name) if name in self.server.runs else None
            return {
                "model": {"id": "cA==", "name": "p", "entity": {"id": "ZQ==", "name": "e"}, "bucket": bucket}
            }
        if operation in ("Viewer", "ViewerInfo"):
            viewer = {"id": "dQ==", "entity": "e", "username": "u", "flags": "{}", "teams": {"edges": []}}
            return {"viewer": viewer}
        if operation == "CreateRunFiles":
            names = given.get("files") or []
            headers = [{"name": n, "uploadUrl": f"{self.server.url}/upload/{n}"} for n in names]
            return {"createRunFiles": {"runID": "cnVu", "uploadHeaders": [], "files": headers}}
        if operation == "ArtifactType":
            return {"project": {"artifactType": None, "artifact": None}}
        if operation == "CreateArtifact":
            # "Committed" is the word for one whose content the server has already.
            sequence = {"id": "c2Vx", "latestArtifact": {"id": "YXJ0", "versionIndex": 0}}
            artifact = {"id": "YXJ0", "state": "COMMITTED", "artifactSequence": sequence}
            return {"createArtifact": {"artifact": artifact}}
        if "erverFeatures" in operation:
            return {"serverInfo": {"features": []}}
        return {}

    def _bucket(self, name: str) -> dict[str, Any]:
        rows = self.server.rows.get(name, {})
        last = rows[max(rows)] if rows else {}
        return {
            "id": "cnVu",
            "name": name,
            "displayName": name,
            "description": "",
            "sweepName": None,
            "config": self.server.runs.get(name, {}).get("config") or "{}",
            "tags": [],
            "wandbConfig": json.dumps({"t": 1}),
            "project": {"id": "cA==", "name": "p", "entity": {"id": "ZQ==", "name": "e"}},
            "historyLineCount": len(rows),
            "eventsLineCount": 0,
            "logLineCount": 0,
            "historyTail": json.dumps([json.dumps(last)]) if rows else "[]",
            "eventsTail": "[]",
            "summaryMetrics": json.dumps(self.server.summaries.get(name, {})),
        }


@contextmanager
def serving(hang: float = 0.0) -> Iterator[Server]:
    """A server, as long as this lasts."""
    server = Server(hang)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
