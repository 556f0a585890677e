"""docs/protocol.md in Python: Starlette, and a log in SQLite, so that a restart loses nothing."""

import asyncio
import hashlib
import json
import os
import re
import secrets
import sqlite3
import time
from collections.abc import AsyncIterator
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

HEARTBEAT, RECEIPT_AGE, BODY_TIMEOUT = float(os.environ.get("HEARTBEAT", "8")), 900.0, 10.0  # seconds
MAX_BODY, MAX_PROMPT, MAX_EVENTS, MAX_SESSIONS = 65_536, 8_000, 10_000, 1_000
MAX_RECEIPTS, MAX_STREAMS, MAX_ATTACHED, MAX_UNSAID = 10_000, 20, 1_000, 32
FEATURES = "replay-marker contiguous-seq watch-replay probe receipts idempotency suspend-keeps".split()
TYPES = {name: name for name in "send reconnect watch unwatch probe".split()} | {"suspend": "session_suspend"}
NO_STORE = {"Cache-Control": "no-store", "Vary": "Origin"}
STREAM = {"Content-Type": "text/event-stream", "Cache-Control": "no-cache, no-transform", "X-Accel-Buffering": "no"}
FRAMES = ("document", "iframe", "frame", "embed", "object")
SCHEMA = """
PRAGMA journal_mode = WAL;
CREATE TABLE IF NOT EXISTS session (id TEXT PRIMARY KEY, owner TEXT, epoch TEXT, head INTEGER);
CREATE TABLE IF NOT EXISTS event (session TEXT, seq INTEGER, data TEXT, PRIMARY KEY (session, seq)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS receipt (owner TEXT, key TEXT, hash TEXT, body TEXT, at REAL, PRIMARY KEY (owner, key));
"""
Message = dict[str, Any]


class Refusal(Exception):
    """An answer other than success: the code is for the client, the sentence for people."""

    def __init__(self, status: int, code: str, sentence: str = "") -> None:
        super().__init__(code)
        self.status, self.body = status, {"error": code, "message": sentence or code}


def user_of(request: Request) -> str | None:
    """Yours: who asks? Here it is whoever says a name, as a bearer token or in a cookie."""
    name = request.headers.get("authorization", "").removeprefix("Bearer ") or request.cookies.get("user", "")
    return name if re.fullmatch(r"[\w-]{1,64}", name, re.ASCII) else None


def may_use(user: str, session: str) -> bool:
    """Yours: may they? Here a session is of the user who wrote first."""
    return log.row("SELECT owner FROM session WHERE id = ?", session)[0] in (None, user)


def apply(user: str, session: str, turn: str, prompt: str) -> Message:
    """Yours: what a prompt does, and its receipt. What takes longer is a task that calls `publish` as it goes."""
    log.append(user, session, {"type": "prompt", "turnId": turn, "text": prompt})
    log.append(user, session, {"type": "answer", "turnId": turn, "text": f"You said: {prompt}"})
    return {"taken": True}


def publish(user: str, session: str, event: Message) -> None:
    with log.db:
        log.append(user, session, event)
    tell()


class Log:
    """Sessions with their events, and receipts. `with log.db:` is a transaction."""

    def __init__(self, path: str) -> None:
        self.db = sqlite3.connect(path)
        self.db.executescript(SCHEMA)

    def row(self, sql: str, *values: object) -> tuple[Any, ...]:
        return self.db.execute(sql, values).fetchone() or (None, None)

    def append(self, user: str, session: str, event: Message) -> None:
        """The envelope is the server's, whatever the event says under its names."""
        epoch, head = self.row("SELECT epoch, head FROM session WHERE id = ?", session)
        if epoch is None:
            if self.row("SELECT count(*) FROM session WHERE owner = ?", user)[0] >= MAX_SESSIONS:
                raise Refusal(403, "too-many-sessions")
            epoch, head = secrets.token_hex(8), 0
            self.db.execute("INSERT INTO session VALUES (?, ?, ?, 0)", (session, user, epoch))
        data = json.dumps({**event, "sessionId": session, "epoch": epoch, "seq": head + 1})
        self.db.execute("INSERT INTO event VALUES (?, ?, ?)", (session, head + 1, data))
        self.db.execute("UPDATE session SET head = ? WHERE id = ?", (head + 1, session))
        self.db.execute("DELETE FROM event WHERE session = ? AND seq <= ?", (session, head + 1 - MAX_EVENTS))

    def after(self, user: str, session: str, cursor: int) -> list[tuple[int, str]]:
        sql = "SELECT seq, data FROM event JOIN session ON id = session WHERE id = ? AND owner = ? AND seq > ?"
        return self.db.execute(sql + " ORDER BY seq LIMIT 100", (session, user, cursor)).fetchall()

    def word(self, session: str, last: int, epoch: object) -> Message:
        own, head = self.row("SELECT epoch, head FROM session WHERE id = ?", session)
        head, before = head or 0, max(0, (head or 0) - MAX_EVENTS)
        lost = not before <= last <= head or (last > 0 and epoch not in (None, own))
        word = {"status": "reset", "from": before} if lost else {"status": "resumed", "from": last}
        return {"sessionId": session, "to": head, **word, **({"epoch": own} if own else {})}

    def once(self, user: str, key: str, text: bytes, session: str, prompt: str) -> Message:
        """Applies a prompt and keeps its receipt: both or neither, and once for each key."""
        digest = hashlib.sha256(text).hexdigest()
        with self.db:
            self.db.execute("DELETE FROM receipt WHERE at < ?", (time.time() - RECEIPT_AGE,))
            known, body = self.row("SELECT hash, body FROM receipt WHERE owner = ? AND key = ?", user, key)
            if known not in (None, digest):
                raise Refusal(409, "key-reused")
            if known is None:
                if self.row("SELECT count(*) FROM receipt WHERE owner = ?", user)[0] >= MAX_RECEIPTS:
                    raise Refusal(429, "too-many")
                body = json.dumps(apply(user, session, key, prompt))
                self.db.execute("INSERT INTO receipt VALUES (?, ?, ?, ?, ?)", (user, key, digest, body, time.time()))
        return json.loads(body)


class Stream:
    """It reads the log by cursor: replay and live events are one, and nothing queues up for a slow client."""

    def __init__(self, user: str) -> None:
        self.user, self.id, self.news = user, secrets.token_urlsafe(16), asyncio.Event()
        self.cursors: dict[str, int] = {}
        self.unsaid: list[Message] = []

    async def frames(self) -> AsyncIterator[str]:
        streams[self.id] = self
        promises = {"heartbeat": int(HEARTBEAT * 1000), "receiptAge": int(RECEIPT_AGE * 1000), "features": FEATURES}
        try:
            yield "event: welcome\n" + frame({"type": "welcome", "protocolVersion": 2, "connectionId": self.id, **promises})
            while not server.should_exit:
                self.news.clear()
                if not (text := self.next()):
                    try:
                        await asyncio.wait_for(self.news.wait(), HEARTBEAT / 2)
                        continue
                    except asyncio.TimeoutError:
                        text = frame({"type": "ping"})
                yield text
            yield frame({"type": "goodbye", "retryAfter": 1000, "spread": 5000})
        finally:
            del streams[self.id]

    def next(self) -> str:
        """Events first, so that a marker is behind all that it is about."""
        for session, cursor in self.cursors.items():
            if rows := log.after(self.user, session, cursor):
                self.cursors[session] = rows[-1][0]
                return "".join(f"data: {data}\n\n" for _, data in rows)
        said, self.unsaid = self.unsaid, []
        return "".join(map(frame, said))

    def attach(self, cursor: object) -> Message:
        """The word on a session, which is attached unless that is `forbidden`."""
        named = cursor if isinstance(cursor, dict) else {}
        session, last = plain(named.get("sessionId")), named.get("lastSeq")
        if len(self.cursors) >= MAX_ATTACHED:
            error = "too-many-sessions"
        elif is_id(session) and type(last) is int and 0 <= last < 2**53 and may_use(self.user, session):
            word = log.word(session, last, named.get("epoch"))
            self.cursors[session] = word["to"] if word["status"] == "reset" else last
            return word
        else:
            error = "forbidden"
        return {"sessionId": session, "status": "forbidden", "from": 0, "to": 0, "error": error}

    def join(self, session: str) -> None:
        """A message attaches its session, so that its sender hears what comes of it."""
        if session not in self.cursors and "error" in (word := self.attach({"sessionId": session, "lastSeq": 2**53 - 1})):
            self.unsaid.append({"type": "unattached", "sessions": [word]})

    def take(self, endpoint: str, message: Message) -> Message:
        """A message that is for the server itself."""
        if len(self.unsaid) >= MAX_UNSAID:
            raise Refusal(429, "too-many")
        self.news.set()
        words: list[Message] = []
        match endpoint:
            case "reconnect":
                cursors, id = message.get("sessions"), plain(message.get("resumeId"))
                if not isinstance(cursors, list) or len(cursors) > 100:
                    raise Refusal(400, "bad-request", "sessions must be at most 100 cursors")
                words = [self.attach(cursor) for cursor in cursors]
                self.unsaid.append({"type": "reconnected", "sessions": words} | ({"resumeId": id} if id else {}))
            case "watch":
                words = [self.attach(message)]
                if "error" in words[0]:
                    raise Refusal(403, words[0]["error"])
            case "unwatch":
                self.cursors.pop(plain(message.get("sessionId")), None)
            case "probe":
                self.unsaid.append({"type": "probe", "nonce": plain(message.get("nonce"))})
        return {"ok": True, "sessions": words}


def check(request: Request) -> str:
    get = request.headers.get
    if request.method == "GET" and (get("sec-fetch-mode") in ("navigate", "no-cors") or get("sec-fetch-dest") in FRAMES):
        raise Refusal(403, "fetch-metadata")
    site, origin = get("sec-fetch-site"), get("origin")
    if not (site in ("same-origin", "none") if site else origin is None or origin.split("//")[-1] == get("host")):
        raise Refusal(403, "origin", f"Origin {origin} is not that of {get('host')}"[:200])
    if (user := user_of(request)) is None:
        raise Refusal(401, "unauthorized")
    return user


async def events(request: Request) -> Response:
    user = check(request)
    if request.method != "GET":
        raise Refusal(405, "method-not-allowed")
    if sum(stream.user == user for stream in streams.values()) >= MAX_STREAMS:
        raise Refusal(429, "too-many")
    asks = "ask" in request.query_params
    return Response(headers=STREAM) if asks else StreamingResponse(Stream(user).frames(), headers=STREAM)


async def post(request: Request) -> Response:
    user, endpoint = check(request), request.path_params["endpoint"]
    if endpoint not in TYPES:
        raise Refusal(400, "unknown-endpoint", f"there are {', '.join(TYPES)}")
    text = await read(request)
    message = parse(text)
    if message.get("type") != TYPES[endpoint]:
        raise Refusal(400, "bad-request", f"type must be {TYPES[endpoint]}")
    stream = streams.get(request.headers.get("x-connection-id") or plain(message.get("connectionId")))
    if stream is None or stream.user != user:
        raise Refusal(404, "unknown-stream")
    if endpoint != "send":
        return answer(stream.take(endpoint, message))
    key, session, prompt = request.headers.get("idempotency-key"), plain(message.get("sessionId")), message.get("prompt")
    if not is_id(session) or not isinstance(prompt, str) or len(prompt) > MAX_PROMPT:
        raise Refusal(400, "bad-request", f"there must be a sessionId, and a prompt of at most {MAX_PROMPT} characters")
    if key and not re.fullmatch(r"[!-~]{1,255}", key):
        raise Refusal(400, "bad-request", "Idempotency-Key must be 1 to 255 visible ASCII characters")
    if not may_use(user, session):
        raise Refusal(403, "forbidden")
    stream.join(session)
    receipt = log.once(user, key or secrets.token_hex(8), text, session, prompt)
    tell()
    return answer(receipt)


async def read(request: Request) -> bytes:
    """To its end, also if it is refused: else the client sees a reset, and repeats it."""
    if request.headers.get("content-type", "").split(";")[0].strip().lower() != "application/json":
        raise Refusal(415, "unsupported-media-type")
    text = b""
    try:
        async with asyncio.timeout(BODY_TIMEOUT):
            async for part in request.stream():
                text = (text + part)[: MAX_BODY + 1]
    except (TimeoutError, ClientDisconnect):
        raise Refusal(408, "body-timeout") from None
    if len(text) > MAX_BODY:
        raise Refusal(413, "too-large")
    return text


def parse(text: bytes) -> Message:
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        message = None
    if not isinstance(message, dict):
        raise Refusal(400, "bad-request", "the body must be a JSON object, and not nested too deep")
    return message


def plain(value: object) -> str:
    """A client may say anything under any name."""
    return value[:200] if isinstance(value, str) else ""


def is_id(value: str) -> bool:
    return re.fullmatch(r"[\w-]{1,128}", value, re.ASCII) is not None


def frame(data: Message) -> str:
    return f"data: {json.dumps(data)}\n\n"


def tell() -> None:
    for stream in streams.values():
        stream.news.set()


def answer(body: Message, status: int = 200) -> Response:
    wait = {"Retry-After": "2"} if status == 429 else {}
    return Response(json.dumps(body), status, {**NO_STORE, **wait}, "application/json")


async def refused(_: Request, refusal: Any) -> Response:
    return answer(refusal.body, refusal.status)


class Server(uvicorn.Server):
    """uvicorn waits for the last response to end, and a stream is one that would not end by itself."""

    def handle_exit(self, sig: int, frame: Any) -> None:
        super().handle_exit(sig, frame)
        tell()


routes = [Route("/api/chat/events", events), Route("/api/chat/{endpoint}", post, methods=["POST"])]
app = Starlette(routes=routes, exception_handlers={Refusal: refused})
streams: dict[str, Stream] = {}
log = Log(os.environ.get("CHAT_DB", "chat.db"))
server = Server(uvicorn.Config(app, port=int(os.environ.get("PORT", "3000")), log_level="warning"))

if __name__ == "__main__":
    asyncio.run(server.serve())
