"""How Convert is addressed: keys in paths, and the header fields without which it does not listen."""

from __future__ import annotations

from urllib.parse import quote

from kameleoon._version import __version__

USER_AGENT = f"ConvertAgent/1.0 kameleoon-python/{__version__}"
"""Convert's tracking drops requests of common HTTP clients as bots, and still answers 200; its agents' name must come first."""

PROJECT = "[project_id]"
"""Stands for the project's id in an address."""

TRACKING_BASE = f"https://{PROJECT}.metrics.convertexperiments.com/v1"
"""Where tracking goes, unless the settings say otherwise."""


def key_path(sdk_key: str) -> str:
    """*sdk_key* as part of a path: its slashes stay, since ``account/project`` is a common form."""
    return quote(sdk_key, safe="/")


def headers(secret: str | None) -> dict[str, str]:
    """The header fields of every request, with the key's secret if it has one."""
    fields = {"User-Agent": USER_AGENT, "Content-Type": "application/json"}
    if secret:
        fields["Authorization"] = f"Bearer {secret}"
    return fields
