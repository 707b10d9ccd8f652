"""Where the service's requests go: every URL of the wire, in one place."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from kameleoon._transport.encoding import encode, query
from kameleoon.sdk_version import SdkVersion

if TYPE_CHECKING:
    from kameleoon.types.remote_visitor_data_filter import RemoteVisitorDataFilter

_HOST = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*")
_STREAM_PORT = 8110


@dataclass(frozen=True, slots=True)
class Endpoints:
    """
    URLs of one client.

    Attributes:
        site_code: The site, as the application gave it.
        environment: The environment, or ``None`` for the default one.
        network_domain: The customer's domain whose sub-domains stand for the service's hosts, or ``None``.
        base_url: One URL under which all services live, paths unchanged (a relay or the local server), or ``None``. It wins over
            *network_domain* and over what the configuration says.
        data_domain: Host of the Data API as the service names it; *network_domain* keeps only its first label.

    Raises:
        ValueError: *base_url* is not ``http(s)://host``, with a port and path if wanted, and nothing else.
        UnicodeEncodeError: *site_code* or *environment* holds half of a surrogate pair.

    Source:
        docs/service/network.md 4.1 and 4.3 to 4.8.
    """

    site_code: str
    environment: str | None = None
    network_domain: str | None = None
    base_url: str | None = None
    data_domain: str = "data.kameleoon.io"

    def __post_init__(self) -> None:
        query([("siteCode", self.site_code), ("environment", self.environment)])
        if self.base_url is not None:
            parts = urlsplit(self.base_url)
            if "@" in parts.netloc:
                raise ValueError("base_url must not hold a user or password")
            if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
                raise ValueError(f"base_url must look like http://host:port/path, not {self.base_url!r}")

    def with_data_domain(self, domain: object) -> Endpoints:
        """
        Take over ``configuration.dataApiDomain`` of a new configuration.

        Args:
            domain: The member as it came. Anything but a host name leaves the endpoints as they are.
        """
        if not isinstance(domain, str) or not _HOST.fullmatch(domain):
            return self
        return replace(self, data_domain=domain)

    def configuration(self, ts: int | None = None) -> str:
        """Configuration of the site; *ts* (milliseconds) is the version that the stream announced."""
        pairs = [("environment", self.environment), ("ts", None if ts is None else str(ts))]
        # The wire has the site code verbatim. Encoding leaves every real one unchanged and keeps others in their place.
        return _join(f"{self._base('sdk-config', 'eu')}/v3/{encode(self.site_code)}", query(pairs))

    def stream(self) -> str:
        """Server-sent events that announce new configurations."""
        base = self.base_url.rstrip("/") if self.base_url else f"{self._base('events', 'eu')}:{_STREAM_PORT}"
        return _join(f"{base}/sse", query([("siteCode", self.site_code)]))

    def token(self) -> str:
        """OAuth endpoint."""
        return _join(f"{self._base('api', 'com')}/oauth/token", query(self._sdk()))

    def tracking(self) -> str:
        """Where tracking lines are posted; they name the user agent themselves (``bodyUa``)."""
        return _join(f"{self._data()}/visit/events", query([*self._sdk(), ("bodyUa", "true")]))

    def visitor(
        self, visitor_code: str, data_filter: RemoteVisitorDataFilter, *, is_mapping_value: bool = False
    ) -> str:
        """
        Data that the service holds of one visitor.

        Args:
            visitor_code: Whose data.
            data_filter: What is wanted; static data is always asked for.
            is_mapping_value: The visitor is known as a unique identifier, so *visitor_code* is sent as ``mappingValue``.

        Raises:
            UnicodeEncodeError: *visitor_code* holds half of a surrogate pair.

        Source:
            docs/service/network.md 4.7 and 6.2; the order is the wire's.
        """
        wanted = [
            ("kcs", data_filter.kcs),
            ("currentVisit", data_filter.current_visit),
            ("customData", data_filter.custom_data),
            ("conversion", data_filter.conversions),
            ("geolocation", data_filter.geolocation),
            ("experiment", data_filter.experiments),
            ("page", data_filter.page_views),
            ("personalization", data_filter.personalization),
            ("cbs", data_filter.cbs),
        ]
        pairs = [
            ("siteCode", self.site_code),
            ("mappingValue" if is_mapping_value else "visitorCode", visitor_code),
            ("maxNumberPreviousVisits", str(data_filter.previous_visit_amount)),
            ("version", "0"),
            ("staticData", "true"),
            *((name, "true") for name, is_wanted in wanted if is_wanted),
        ]
        return _join(f"{self._data()}/visit/visitor", query(pairs))

    def map(self, key: str) -> str:
        """
        Remote data stored under *key*; an empty key is left out.

        Raises:
            UnicodeEncodeError: *key* holds half of a surrogate pair.
        """
        return _join(f"{self._data()}/map/map", query([("siteCode", self.site_code), ("key", key)]))

    def _sdk(self) -> list[tuple[str, str | None]]:
        return [("sdkName", SdkVersion.NAME), ("sdkVersion", SdkVersion.VERSION), ("siteCode", self.site_code)]

    def _base(self, label: str, top_level: str) -> str:
        if self.base_url:
            return self.base_url.rstrip("/")
        return f"https://{label}.{self.network_domain or f'kameleoon.{top_level}'}"

    def _data(self) -> str:
        if self.base_url:
            return self.base_url.rstrip("/")
        if self.network_domain:
            # Only the label changes hands: text of the customer's domain that looks like it stays (faults B14).
            return f"https://{self.data_domain.partition('.')[0]}.{self.network_domain}"
        return f"https://{self.data_domain}"


def _join(url: str, query_string: str) -> str:
    return f"{url}?{query_string}" if query_string else url
