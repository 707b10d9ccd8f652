"""The local server's application: which path is answered by which service."""

from __future__ import annotations

from collections import OrderedDict

from aiohttp import web

from kameleoon.server.answers import errors_as_json
from kameleoon.server.guard import GUARD, Guard
from kameleoon.server.http_asked_results import ASKED, end_asked_results, give_results_of_both
from kameleoon.server.http_automation import routes
from kameleoon.server.http_configuration import configuration, configuration_before_v3
from kameleoon.server.http_data import MAX_BODY_BYTES, forget, give_map, give_maps, give_visitor, take_events, take_maps
from kameleoon.server.http_ofrep import evaluate_flag, evaluate_flags
from kameleoon.server.http_page import (
    change_flag,
    give_asset,
    give_experiment,
    give_flag,
    give_history,
    give_live_events,
    give_live_page,
    give_overview,
    give_visitor_page,
    guarded,
    log_in,
    of_site,
)
from kameleoon.server.http_products import give_product_counters, give_product_data, take_product_events
from kameleoon.server.http_results import give_health, give_project
from kameleoon.server.http_stream import give_changes
from kameleoon.server.http_tokens import authorize, give_token
from kameleoon.server.middleware import fail_on_purpose, keep_rate_limits, open_to_other_origins
from kameleoon.server.service import SERVICE, Service


def build_app(service: Service, guard: Guard | None = None) -> web.Application:
    """
    The application over *service*, which stays the caller's to close.

    All hosts of the real service are played on one port; their paths do not overlap. The configuration path of SDKs up to 3.4.0 is one
    word, so it comes last.
    """
    app = web.Application(
        middlewares=[open_to_other_origins, errors_as_json, fail_on_purpose, keep_rate_limits],
        client_max_size=MAX_BODY_BYTES,
    )
    app[SERVICE] = service
    app[GUARD] = guard or Guard()
    app[ASKED] = OrderedDict()
    app.on_shutdown.append(_end_streams)
    app.on_shutdown.append(end_asked_results)
    app.add_routes(
        [
            web.get("/", of_site(give_overview)),
            web.get("/page/flag", of_site(give_flag)),
            web.post("/page/flag", guarded(change_flag)),
            web.get("/page/experiment", of_site(give_experiment)),
            web.get("/page/visitor", of_site(give_visitor_page)),
            web.get("/page/live", of_site(give_live_page)),
            web.get("/page/live/events", of_site(give_live_events)),
            web.get("/page/history", of_site(give_history)),
            web.post("/page/login", log_in),
            web.get("/page/{name}", give_asset),
            web.get("/health", give_health),
            web.get("/results", give_results_of_both),
            web.get("/project.yaml", guarded(give_project)),
            web.post("/oauth/token", give_token),
            web.get("/oauth/authorize", guarded(authorize)),
            web.post("/visit/events", take_events),
            web.get("/visit/visitor", give_visitor),
            web.post("/visit/forget", forget),
            web.get("/map/map", give_map),
            web.get("/map/maps", give_maps),
            web.post("/map/maps", take_maps),
            web.post("/product/events", take_product_events),
            web.get("/product/productCounters", give_product_counters),
            web.get("/product/productData", give_product_data),
            web.get("/sse", give_changes),
            web.post("/ofrep/v1/evaluate/flags", evaluate_flags),
            web.post("/ofrep/v1/evaluate/flags/{key}", evaluate_flag),
            *routes(),
            web.get("/v3/{site_code}", configuration),
            web.get("/{site_code}", configuration_before_v3),
        ]
    )
    return app


async def _end_streams(app: web.Application) -> None:
    """Open streams would otherwise hold up the end for as long as requests are given."""
    app[SERVICE].end_streams()
