"""The page's requests: who may ask, what is read for each page, and what its forms change."""

from __future__ import annotations

import json
from email.utils import formatdate
from functools import partial
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from aiohttp import web

from kameleoon.server import edits
from kameleoon.server.answers import refusal
from kameleoon.server.decisions import record_of
from kameleoon.server.edits import EditError
from kameleoon.server.guard import COOKIE, GUARD, HEADERS
from kameleoon.server.http_stream import stream
from kameleoon.server.pages_events import event_cells, history_page, live_page
from kameleoon.server.pages_experiment import experiment_page
from kameleoon.server.pages_flag import flag_page
from kameleoon.server.pages_layout import Surroundings, error_page, link, login_page
from kameleoon.server.pages_overview import overview
from kameleoon.server.pages_visitor import visitor_page
from kameleoon.server.service import SERVICE
from kameleoon.server.statistics import CONFIDENCE
from kameleoon.server.visits import KINDS, Wanted, build_visits

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from kameleoon.server.lines import Body
    from kameleoon.server.project import Project
    from kameleoon.server.site import Site

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
    SiteHandler = Callable[[web.Request, Site], Awaitable[web.StreamResponse]]

_ASSETS = {"page.css": "text/css", "page.js": "text/javascript"}
_ALL = Wanted(frozenset(KINDS), current=True, previous=25)
_MAX_FORM_BYTES = 64 * 1024
_SHOWN_FLAGS = 500


def guarded(handler: Handler) -> Handler:
    """Let only those in who may use the page; others get the form for the token, or 401 where a program asks."""

    async def checked(request: web.Request) -> web.StreamResponse:
        guard = request.app[GUARD]
        guard.check_host(request)
        if guard.may_read(request):
            return await handler(request)
        if "text/html" in request.headers.get("Accept", ""):
            return web.Response(text=login_page(False), content_type="text/html", status=401, headers=HEADERS)
        raise refusal(401, "token_needed", "this server was started with a token; send it as Authorization: Bearer …")

    return checked


def of_site(handler: SiteHandler) -> Handler:
    """A page of the site that the query names, by default the main one; only for those who may use the page."""

    async def found(request: web.Request) -> web.StreamResponse:
        service = request.app[SERVICE]
        code = request.query.get("site")
        site = service.main if code is None else service.site(code)
        if site is None:
            return _not_found(request, service.main, f"there is no site {code!r}")
        return await handler(request, site)

    return guarded(found)


async def log_in(request: web.Request) -> web.Response:
    """``POST /page/login``: the token for a cookie."""
    guard = request.app[GUARD]
    guard.check_host(request)
    form = await _form(request)
    if not guard.is_token(form.get("token", "")):
        return web.Response(text=login_page(True), content_type="text/html", status=401, headers=HEADERS)
    answer = web.Response(status=303, headers={"Location": "/", **HEADERS})
    _set_cookie(answer, guard.new_session())
    return answer


async def give_asset(request: web.Request) -> web.Response:
    """``GET /page/{name}``: the style and the script."""
    name = request.match_info["name"]
    if name not in _ASSETS:
        raise web.HTTPNotFound
    text = files("kameleoon.server").joinpath("assets", name).read_text(encoding="utf-8")
    headers = {"Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff"}
    return web.Response(text=text, content_type=_ASSETS[name], charset="utf-8", headers=headers)


async def give_overview(request: web.Request, site: Site) -> web.Response:
    """``GET /``: all flags."""
    service = request.app[SERVICE]
    results, counters = await service.with_storage(lambda: (site.results(), service.storage.counters()))
    return _page(request, site, lambda around: overview(around, results, counters))


async def give_flag(request: web.Request, site: Site) -> web.Response:
    """``GET /page/flag?key=``: one flag."""
    service = request.app[SERVICE]
    key = request.query.get("key", "")
    results, changes = await service.with_storage(lambda: (site.results(), service.storage.changes(site.code, key)))

    def build(around: Surroundings) -> str:
        return flag_page(around, edits.find_flag(around.project, key), results, changes)

    return _page(request, site, build)


async def change_flag(request: web.Request) -> web.Response:
    """``POST /page/flag``: one change, then back to the flag's page."""
    form = await _form(request)
    request.app[GUARD].check_form(request, form)
    service = request.app[SERVICE]
    site = service.main if "site" not in form else service.site(form["site"])
    if site is None:
        return _not_found(request, service.main, f"there is no site {form['site']!r}")
    try:
        edit = _edit(form)
        said = await service.with_storage(partial(service.change, site, edit, author="page"))
    except EditError as error:
        message = str(error)
        return _page(request, site, lambda around: error_page(around, "Nothing was changed", message), status=400)
    done = "; ".join(text for _, text in said) or "nothing changed"
    place = link("/page/flag", key=form["flag"], site=form.get("site"), done=done)
    return web.Response(status=303, headers={"Location": place, **HEADERS})


def _edit(form: Mapping[str, str]) -> Callable[[Project], Project]:
    """
    What a form asks for.

    Raises:
        EditError: It asks for nothing that there is.
    """
    flag, environment, rule = form.get("flag", ""), form.get("environment") or None, form.get("rule", "")
    match form.get("action"):
        case "switch" if environment is not None:
            return partial(edits.switch, key=flag, environment=environment, is_on=form.get("on") == "true")
        case "exposition":
            exposition = _percent(form.get("exposition", ""))
            return partial(edits.set_exposition, key=flag, environment=environment, rule=rule, exposition=exposition)
        case "pause":
            is_paused = form.get("paused") == "true"
            return partial(edits.set_paused, key=flag, environment=environment, rule=rule, is_paused=is_paused)
        case "shares":
            shares = {name[6:]: _percent(value) for name, value in form.items() if name.startswith("share.")}
            return partial(edits.set_shares, key=flag, environment=environment, rule=rule, shares=shares)
    raise EditError("the form asks for nothing that can be done")


def _percent(text: str) -> float:
    try:
        value = float(text) / 100
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise EditError(f"{text!r} is no percentage from 0 to 100")
    return value


async def give_experiment(request: web.Request, site: Site) -> web.Response:
    """``GET /page/experiment?flag=&rule=&environment=&goal=``: results of one rule."""
    service = request.app[SERVICE]
    query = request.query
    project = site.published.project
    environment = query.get("environment") or None
    try:
        flag = edits.find_flag(project, query.get("flag", ""))
        rule = edits.find_rule(flag, environment, query.get("rule", ""))
    except EditError as error:
        return _not_found(request, site, str(error))
    keys = [goal.key for goal in project.goals]
    goal = query.get("goal", "")
    goal = goal if goal in keys else next(iter(keys), "")
    storage = service.storage
    code, experiment = project.site_code, rule.experiment_id
    results, moments, started_ms = await service.with_storage(
        lambda: (site.results(), storage.moments(code, experiment), storage.started_ms(code, experiment))
    )
    result = next(r for r in results.flag(flag.key).rules if (r.environment, r.key) == (environment, rule.key))
    now_ms = int(service.now_s() * 1000)

    def build(around: Surroundings) -> str:
        return experiment_page(
            around,
            flag,
            rule,
            result,
            goal,
            moments,
            started_ms=started_ms,
            now_ms=now_ms,
            confidence=CONFIDENCE,
        )

    return _page(request, site, build)


async def give_visitor_page(request: web.Request, site: Site) -> web.Response:
    """``GET /page/visitor?code=&environment=&flag=``: a visitor, or without a code those seen last."""
    service = request.app[SERVICE]
    decider = site.decider
    project = decider.published.project
    code = request.query.get("code", "").strip()[:255]
    environment = request.query.get("environment", "")
    environment = environment if environment in project.environments else site.environment
    storage, now_ms = service.storage, int(service.now_s() * 1000)
    if not code:
        last = await service.with_storage(lambda: storage.last_visitors(project.site_code))
        return _page(request, site, lambda around: visitor_page(around, "", None, last, [], None, environment))
    events = await service.with_storage(lambda: storage.events(project.site_code, code))
    visits = build_visits(events, _ALL, now_ms=now_ms)
    record = record_of(visits, now_ms)
    decisions = [
        (flag, decider.decide(environment, flag.key, record, code, now_ms)) for flag in project.flags[:_SHOWN_FLAGS]
    ]
    asked = request.query.get("flag")
    explained = None
    for flag in project.flags:
        if flag.key == asked:
            explained = (flag, environment, *decider.explain(environment, flag, record, code, now_ms))
    return _page(
        request, site, lambda around: visitor_page(around, code, visits, [], decisions, explained, environment)
    )


async def give_live_page(request: web.Request, site: Site) -> web.Response:
    """``GET /page/live``: the last events."""
    service = request.app[SERVICE]
    events = await service.with_storage(lambda: service.storage.last_events(site.code))
    return _page(request, site, lambda around: live_page(around, events))


async def give_live_events(request: web.Request, site: Site) -> web.StreamResponse:
    """``GET /page/live/events``: what arrives from now on, as an event stream."""
    service = request.app[SERVICE]

    def render(arrived: tuple[str, Body]) -> str:
        if arrived[0] != site.code:
            return ""
        now_ms, project = int(service.now_s() * 1000), site.published.project
        cells = [
            event_cells(project, event.time_ms or now_ms, event.visitor, event.type, event.parameters)
            for event in arrived[1].events[-100:]
        ]
        return f"data: {json.dumps(cells)}\n\n"

    return await stream(request, service.arrived, render)


async def give_history(request: web.Request, site: Site) -> web.Response:
    """``GET /page/history``: all changes."""
    service = request.app[SERVICE]
    changes = await service.with_storage(lambda: service.storage.changes(site.code, most=500))
    return _page(request, site, lambda around: history_page(around, changes))


def _not_found(request: web.Request, site: Site, message: str) -> web.Response:
    return _page(request, site, lambda around: error_page(around, "Not found", message), status=404)


def _page(request: web.Request, site: Site, build: Callable[[Surroundings], str], *, status: int = 200) -> web.Response:
    service, guard = request.app[SERVICE], request.app[GUARD]
    session, published = guard.session(request), site.published
    # Where no token is needed every browser gets a session, so that forms can be told from those of other sites.
    fresh = guard.new_session() if session is None else None
    around = Surroundings(
        project=published.project,
        sites=[(one.code, one.published.project.name or one.code) for one in service.sites],
        secret=guard.form_secret(session or fresh or ""),
        modified=formatdate(published.modified_s, usegmt=True),
        at_ms=published.at_ms,
        url=f"{request.scheme}://{request.host}",
        file_error=site.file_error,
        message=request.query.get("done"),
    )
    try:
        text = build(around)
    except EditError as error:
        text, status = error_page(around, "Not found", str(error)), 404
    answer = web.Response(text=text, content_type="text/html", status=status, headers=HEADERS)
    if fresh is not None and not guard.needs_token:
        _set_cookie(answer, fresh)
    return answer


def _set_cookie(answer: web.Response, session: str) -> None:
    answer.set_cookie(COOKIE, session, httponly=True, samesite="Strict", path="/")


async def _form(request: web.Request) -> dict[str, str]:
    if (request.content_length or 0) > _MAX_FORM_BYTES:
        raise web.HTTPRequestEntityTooLarge(_MAX_FORM_BYTES, request.content_length or 0)
    try:
        form: Any = await request.post()
    except (ValueError, LookupError) as error:
        raise refusal(400, "bad_form", "the form cannot be read") from error
    return {name: value for name, value in form.items() if isinstance(value, str)}
