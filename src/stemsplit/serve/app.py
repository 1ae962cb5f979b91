"""The application: its page, its API, and the events that tell how far songs are."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, File, Form, HTTPException, Query, UploadFile
from fastapi import Path as InPath
from fastapi.responses import FileResponse, JSONResponse, StreamingResponse
from pydantic import BaseModel, ValidationError
from starlette.requests import Request as HttpRequest
from starlette.types import ASGIApp

from stemsplit import __version__
from stemsplit.audio import probe
from stemsplit.errors import AudioError, OutputError, StemsplitError, UsageError, in_words, reason
from stemsplit.machine.disk import spare_bytes
from stemsplit.options import PRESETS
from stemsplit.serve.guard import Guard, Rules
from stemsplit.serve.library import Library, NoSuchSongError, Song
from stemsplit.serve.page import PAGE_HEADERS, page_file
from stemsplit.serve.queue import JobRecord, NoSuchJobError, NotNowError, Queue, QueueFullError
from stemsplit.serve.requests import FORMAT_NAMES, Models, Request
from stemsplit.serve.uploads import safe_name

TICK_SECONDS = 0.25
"""How often events are looked for."""
BEAT_SECONDS = 15.0
"""So often something is sent, that nobody on the way takes the line for dead."""
STATUS: dict[type[StemsplitError], int] = {
    NoSuchJobError: 404,
    NoSuchSongError: 404,
    NotNowError: 409,
    AudioError: 415,
    UsageError: 422,
    QueueFullError: 503,
    OutputError: 507,
}
"""Error → status; the first that fits."""
EVENTS: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {"text/event-stream": {}},
        "description": "Events `job`: a JobRecord as JSON, when it changes.",
    }
}
Number = Annotated[int, InPath(ge=1)]
Text = Annotated[str | None, Form(max_length=200)]


@dataclass(frozen=True)
class Limits:
    """What is taken of a client.

    Attributes:
        file_bytes: the largest upload.
        seconds: the longest song.
    """

    file_bytes: int = 1_000_000_000
    seconds: float = 3 * 3600.0


class NamedAbout(BaseModel):
    """A name that can be chosen, and what it is."""

    name: str
    about: str


class ModelOffer(NamedAbout):
    """A model that is here, and what it separates."""

    stems: list[str]


class Choices(BaseModel):
    """What a request may name, and the limits of uploads. The first model is the default."""

    version: str
    output: str
    presets: list[NamedAbout]
    formats: list[str]
    models: list[ModelOffer]
    most_bytes: int
    most_seconds: float


class Songs(BaseModel):
    """A part of the songs in the output folder, the newest first; `total` is how many there are."""

    total: int
    songs: list[Song]


class Server:
    """What the routes are about.

    Args:
        queue: the songs.
        models: what separates them.
        limits: what is taken of a client.
        stopping: says whether the server is about to end.
        on_error: told an error that is the program's fault.
    """

    def __init__(
        self,
        queue: Queue,
        models: Models,
        limits: Limits = Limits(),
        *,
        stopping: Callable[[], bool] = lambda: False,
        on_error: Callable[[BaseException], object] = lambda error: None,
    ) -> None:
        self.queue, self.models, self.limits = queue, models, limits
        self.stopping, self.on_error = stopping, on_error
        self.library = Library(queue.output)

    def choices(self) -> Choices:
        """Return what a request may name."""
        return Choices(
            version=__version__,
            output=str(self.queue.output),
            presets=[NamedAbout(name=name, about=preset.about) for name, preset in PRESETS.items()],
            formats=list(FORMAT_NAMES),
            models=[
                ModelOffer(name=offer.name, about=offer.about, stems=list(offer.stems))
                for offer in self.models.offers.values()
            ],
            most_bytes=self.limits.file_bytes,
            most_seconds=self.limits.seconds,
        )

    def submit(self, file: UploadFile, request: Request) -> JobRecord:
        """Take a song in. Raises: UsageError, AudioError, OutputError, QueueFullError."""
        self.models.check(request, self.queue.output)
        name = (file.filename or "song").replace("\\", "/").rpartition("/")[2][-255:]
        number, folder = self.queue.new_folder()
        try:
            upload = folder / safe_name(name)
            self._keep(file, upload)
            seconds = self._seconds(upload, name)
            return self.queue.add(number, upload, name, request, seconds)
        except BaseException:
            self.queue.discard(number)
            raise

    def _keep(self, file: UploadFile, upload: Path) -> None:
        if file.size is not None and file.size > min(self.limits.file_bytes, spare_bytes(upload.parent)):
            raise OutputError(f"{upload.name}: the disk of the output folder has no room for it")
        try:
            with upload.open("xb") as kept:
                shutil.copyfileobj(file.file, kept, 1 << 20)
        except OSError as error:
            raise OutputError(f"cannot write {upload}: {reason(error)}") from error

    def _seconds(self, upload: Path, name: str) -> float | None:
        """Return how long a song is, where it says so. Raises: AudioError if it is none, or too long."""
        try:
            seconds = probe(upload).seconds
        except AudioError as error:
            raise type(error)(str(error).replace(str(upload), name)) from error
        if seconds is not None and seconds > self.limits.seconds:
            raise AudioError(f"{name}: longer than {self.limits.seconds / 60:g} minutes, the most that is taken here")
        return seconds

    async def events(self, number: int | None = None) -> AsyncIterator[str]:
        """Yield server-sent events about all jobs, or one until it is over: first as they are, then every change."""
        version, quiet = -1, 0.0
        while not self.stopping():
            version, jobs = self.queue.changed_since(version)
            for job in jobs:
                if number in (None, job.number):
                    quiet = 0.0
                    yield f"event: job\ndata: {job.model_dump_json()}\n\n"
                    if number is not None and job.is_over:
                        return
            quiet += TICK_SECONDS
            if quiet >= BEAT_SECONDS:
                quiet = 0.0
                yield ": still here\n\n"
            await asyncio.sleep(TICK_SECONDS)


def make_app(server: Server, rules: Rules) -> ASGIApp:
    """Return the application, behind its guard."""
    app = FastAPI(
        title="stemsplit",
        version=__version__,
        description="Split songs into stems, on this machine.",
        docs_url=None,  # its page would come from another site
        redoc_url=None,
    )

    async def explained(request: HttpRequest, error: Exception) -> JSONResponse:
        status = next((status for kind, status in STATUS.items() if isinstance(error, kind)), 500)
        if not isinstance(error, StemsplitError):
            server.on_error(error)
        return JSONResponse({"detail": in_words(error)}, status)

    app.add_exception_handler(StemsplitError, explained)
    app.add_exception_handler(Exception, explained)
    _add_jobs(app, server)
    _add_songs(app, server)
    return Guard(app, rules)


def _add_jobs(app: FastAPI, server: Server) -> None:
    queue = server.queue

    @app.post("/separate", status_code=202, summary="Upload a song to be separated", tags=["jobs"])
    def separate(
        file: Annotated[UploadFile, File(description="A song, in any format that `stemsplit separate` reads.")],
        preset: Text = None,
        stems: Text = None,
        two_stems: Text = None,
        without: Text = None,
        mix: Annotated[list[str] | None, Form(max_length=20)] = None,
        exact_sum: Annotated[bool | None, Form()] = None,
        format: Text = None,
        model: Text = None,
    ) -> JSONResponse:
        given = {
            "preset": preset, "stems": stems, "two_stems": two_stems, "without": without, "format": format,
            "model": model,
        }  # fmt: skip
        try:
            wanted = Request(**{k: v or None for k, v in given.items()}, mix=tuple(mix or ()), exact_sum=exact_sum)
        except ValidationError as error:
            raise UsageError(error.errors()[0]["msg"]) from error
        job = server.submit(file, wanted)
        return JSONResponse(job.model_dump(), 202, {"Location": f"/jobs/{job.number}"})

    @app.get("/jobs", summary="All jobs, the newest first", tags=["jobs"])
    def jobs() -> list[JobRecord]:
        return queue.all()

    @app.get("/jobs/{number}", summary="One job", tags=["jobs"])
    def job(number: Number) -> JobRecord:
        return queue.get(number)

    @app.get("/jobs/{number}/events", summary="How far a job is, until it is over", tags=["jobs"], responses=EVENTS)
    async def job_events(number: Number) -> StreamingResponse:
        queue.get(number)
        return _stream(server.events(number))

    @app.post("/jobs/{number}/cancel", status_code=202, summary="Cancel a job", tags=["jobs"])
    def cancel(number: Number) -> JobRecord:
        return queue.cancel(number)

    @app.delete("/jobs/{number}", status_code=204, summary="Forget a job that is over; its stems stay", tags=["jobs"])
    def remove(number: Number) -> None:
        queue.remove(number)

    @app.get("/events", summary="How far all jobs are", tags=["jobs"], responses=EVENTS)
    async def events() -> StreamingResponse:
        return _stream(server.events())


def _add_songs(app: FastAPI, server: Server) -> None:
    @app.get("/choices", summary="What a request may name", tags=["songs"])
    def choices() -> Choices:
        return server.choices()

    @app.get("/songs", summary="Songs in the output folder, the newest first", tags=["songs"])
    def songs(start: int = 0, count: int = 50) -> Songs:
        found = server.library.songs()
        return Songs(total=len(found), songs=found[max(0, start) :][: max(0, count)])

    @app.post("/player", summary="Write the page that plays a song, if it has none", tags=["songs"])
    def player(track: Annotated[str, Query(max_length=4000)]) -> Song:
        return server.library.make_page(track)

    @app.get("/songs/{path:path}", summary="A file of a song", tags=["songs"], response_class=FileResponse)
    def file(path: str) -> FileResponse:
        if (found := server.library.file(path)) is None:
            raise HTTPException(404, "no file of a song is there")
        return FileResponse(found, headers={"Cache-Control": "no-cache"})

    @app.get("/", include_in_schema=False)
    def front() -> FileResponse:
        return FileResponse(page_file("serve.html") or "", headers=PAGE_HEADERS)

    @app.get("/page/{name}", include_in_schema=False)
    def source(name: str) -> FileResponse:
        if (found := page_file(name)) is None:
            raise HTTPException(404, "no part of the page is called that")
        return FileResponse(found, headers=PAGE_HEADERS)


def _stream(events: AsyncIterator[str]) -> StreamingResponse:
    return StreamingResponse(events, media_type="text/event-stream", headers={"Cache-Control": "no-store"})
