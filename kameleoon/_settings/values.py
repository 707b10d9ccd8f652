"""What a client works with."""

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

SameSite: TypeAlias = Literal["Strict", "Lax", "None"]


@dataclass(frozen=True, slots=True)
class InFile:
    """
    A part of a settings file that another room reads.

    Attributes:
        place: File and place in it, for messages.
        value: What stands there; it may hold secrets.
    """

    place: str
    value: Any = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """
    What a client works with. Times are in seconds.

    Attributes:
        client_id: Identifier for the service; empty without network.
        client_secret: Secret for the service; empty without network.
        refresh_interval_s: Between two fetches of the configuration.
        session_duration_s: Of inactivity, after which a visitor is forgotten.
        timeout_s: For one call to the service.
        tracking_interval_s: Between two sendings of tracking data, 1 to 5.
        exit_timeout_s: For sending what is left when the process ends.
        regex_timeout_s: For matching one pattern.
        environment: Name of the environment, ``None`` for the default one.
        top_level_domain: ``Domain`` of the visitor cookie, empty for none.
        network_domain: Own domain in place of the service's, ``None`` for none.
        base_url: One base URL for all services, without a slash at its end; ``None`` for the service's own hosts.
        multi_threading: ``False`` when no thread may be started.
        data_dir: Where the last configuration and unsent events are kept, ``None`` for nowhere.
        max_visitors: How many visitors are remembered at once.
        visitor_store: Where they are remembered, ``None`` for memory.
        source: Where configuration comes from, ``None`` for the service.
        cookie_secure: Whether the visitor cookie has ``Secure``.
        cookie_samesite: The visitor cookie's ``SameSite``, ``None`` for none.
        cookie_removed_on_refusal: Whether refused consent deletes the visitor cookie.
        destinations: Where exposures and conversions go beside the service: destinations, feeds, or what a file says of them.
        logger: The standard logger to use in place of ``Kameleoon SDK``, ``None`` for that one.
    """

    client_id: str
    client_secret: str = field(repr=False)
    refresh_interval_s: float
    session_duration_s: float
    timeout_s: float
    tracking_interval_s: float
    exit_timeout_s: float
    regex_timeout_s: float
    environment: str | None
    top_level_domain: str
    network_domain: str | None
    base_url: str | None
    multi_threading: bool | None
    data_dir: Path | None
    max_visitors: int
    visitor_store: object | None
    source: object | None
    cookie_secure: bool
    cookie_samesite: SameSite | None
    cookie_removed_on_refusal: bool
    destinations: tuple[object, ...]
    logger: logging.Logger | None
