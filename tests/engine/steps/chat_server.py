"""A server that speaks OpenAI's chat protocol, over real HTTP."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

Answer = Callable[[str, dict[str, Any]], str]
"""What the model says to a task (the system's message) and a question (the user's, decoded)."""


class ChatServer:
    """``status`` is answered to all; ``asked`` keeps path, headers and body of each request."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.status = 200
        self.asked: list[tuple[str, dict[str, str], dict[str, Any]]] = []
        self.url = ""


@contextmanager
def serving(answer: Answer) -> Iterator[ChatServer]:
    chat = ChatServer(answer)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            chat.asked.append((self.path, dict(self.headers), body))
            task, question = (message["content"] for message in body["messages"])
            said = chat.answer(task, json.loads(question))
            answer = {"choices": [{"message": {"role": "assistant", "content": said}}]}
            data = json.dumps(answer if chat.status == 200 else {"error": "no"}).encode()
            self.send_response(chat.status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    chat.url = f"http://127.0.0.1:{server.server_port}/v1"
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield chat
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
