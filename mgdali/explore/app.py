"""The web application of ``mgdali explore``: its routes, the files of its page, and errors as JSON."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp

from mgdali.explore.access import Access, AllowedHosts
from mgdali.explore.answers import Answers, MeasuringError, NoVideoError, UnreadableVideoError
from mgdali.explore.parameters import BadParameterError

__all__ = ["PAGE", "Workers", "explore_app"]

PAGE = Path(__file__).parent / "page"
"""Folder with the files of the page."""

_MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
}
# The browser asks each time whether a file has changed: after an update, old and new files must not meet.
_PAGE_HEADERS = {"cache-control": "no-cache"}
_ID = re.compile(r"[0-9]{1,18}", re.ASCII)
# Most of these threads wait for one of the few decoders.
_DECODING_THREADS = 64
_LISTING_THREADS = 4

_Endpoint = Callable[[Request], Awaitable[Response]]


class Workers:
    """Threads that compute answers: some for lists, and others for videos, which may wait long for a decoder."""

    def __init__(self) -> None:
        self.listing = ThreadPoolExecutor(_LISTING_THREADS, "explore-list")
        self.decoding = ThreadPoolExecutor(_DECODING_THREADS, "explore-video")

    def close(self) -> None:
        """Drop the answers that are still queued. The threads end when the answers in progress are complete."""
        for pool in (self.listing, self.decoding):
            pool.shutdown(wait=False, cancel_futures=True)


def explore_app(answers: Answers, workers: Workers, token: str, hosts: AllowedHosts, *, page: Path = PAGE) -> ASGIApp:
    """Return the web application.

    Args:
        answers: The content of the answers.
        workers: Threads that compute them.
        token: First segment of all paths.
        hosts: The permitted Host headers.
        page: Folder with ``index.html`` and the other files of the page. The names in it are read once, their content
            with each request.
    """
    listing, decoding = workers.listing, workers.decoding
    routes = [
        Route("/", _file(page / "index.html")),
        *(Route(f"/page/{name}", _file(page / name)) for name in _page_files(page)),
        Route("/api/collection", _answer(listing, lambda request: answers.collection(_query(request)))),
        Route("/api/videos", _answer(listing, lambda request: answers.videos(_query(request)))),
        Route("/api/videos/{id}/place", _answer(listing, _about_video(answers.place))),
        Route("/api/offsets", _answer(listing, lambda request: answers.offsets(_query(request)))),
    ]
    for path, method in (("", answers.video), ("/frames", answers.frames), ("/explanation", answers.explanation)):
        routes.append(Route(f"/api/videos/{{id}}{path}", _answer(decoding, _about_video(method))))
    router = Router(routes, redirect_slashes=False, default=_nothing_here)
    return Access(router, token, hosts)


def _page_files(page: Path) -> list[str]:
    return sorted(name for name in os.listdir(page) if Path(name).suffix in _MEDIA_TYPES)


def _file(path: Path) -> _Endpoint:
    """Return the endpoint of a file of the page."""

    async def endpoint(request: Request) -> Response:
        try:
            content = path.read_bytes()
        except OSError as error:
            return _failure(request, error)
        return Response(content, headers={**_PAGE_HEADERS, "content-type": _MEDIA_TYPES[path.suffix]})

    return endpoint


def _about_video(
    method: Callable[[list[tuple[str, str]], int], dict[str, Any]],
) -> Callable[[Request], dict[str, Any]]:
    def answer(request: Request) -> dict[str, Any]:
        text: str = request.path_params["id"]
        if not _ID.fullmatch(text):
            raise NoVideoError(f"video {text[:60]!r} is unknown: ids are integers >= 0")
        return method(_query(request), int(text))

    return answer


def _query(request: Request) -> list[tuple[str, str]]:
    return request.query_params.multi_items()


def _answer(pool: ThreadPoolExecutor, answer: Callable[[Request], dict[str, Any]]) -> _Endpoint:
    """Return the endpoint that computes an answer in a thread of the pool."""

    def respond(request: Request) -> Response:
        try:
            return _json(answer(request))
        except MeasuringError as measuring:
            return _json({"measuring": {"frames": measuring.frames}}, 202)
        except BadParameterError as error:
            return _json({"error": str(error)}, 400)
        except NoVideoError as error:
            return _json({"error": str(error)}, 404)
        except UnreadableVideoError as error:
            return _json({"error": str(error)}, 422)
        except Exception as error:
            return _failure(request, error)

    async def endpoint(request: Request) -> Response:
        return await _unless_gone(request, pool.submit(respond, request))

    return endpoint


async def _unless_gone(request: Request, job: Future[Response]) -> Response:
    """Wait for the response to a request; drop it if the client has gone before it was begun.

    While the user moves a control, the page asks for frames and soon gives them up. Those that nobody waits for must
    not delay the others.
    """
    response = asyncio.wrap_future(job)
    gone = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait((response, gone), return_when=asyncio.FIRST_COMPLETED)
        if response.done():
            return response.result()
        job.cancel()
        # Nobody reads this response.
        return Response(status_code=503)
    finally:
        gone.cancel()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _json(content: dict[str, Any], status: int = 200) -> Response:
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # Names of files may contain bytes that are not UTF-8, which Python represents by surrogates.
    return Response(text.encode("utf-8", "replace"), status, media_type="application/json")


def _failure(request: Request, error: Exception) -> Response:
    """Return the response to a request that failed because of a bug, and report it on stderr in one line."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = "" if trace is None else f" ({Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno})"
    reason = " ".join(f"{type(error).__name__}: {error}".split())
    print(f"error: {request.url.path} failed: {reason}{where}. Please report this line as a bug.", file=sys.stderr)
    return JSONResponse({"error": "this failed: the terminal of mgdali explore shows the reason"}, 500)


async def _nothing_here(scope: Any, receive: Any, send: Any) -> None:
    await JSONResponse({"error": "there is nothing at this address"}, 404)(scope, receive, send)
