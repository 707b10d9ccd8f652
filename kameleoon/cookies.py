"""
The rules of our cookies: headers read tolerantly and written strictly.

Pure, and below the client, because ``get_visitor_code`` and every integration follow the same rules. New visitor codes
are made elsewhere; the time comes in.

Source:
    docs/service/network.md 7.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from http.cookies import Morsel, SimpleCookie
from typing import Final, Literal
from urllib.parse import unquote

VISITOR_COOKIE: Final = "kameleoonVisitorCode"
SIMULATION_COOKIE: Final = "kameleoonSimulationFFData"
LIFETIME_S: Final = 380 * 86_400
MAX_CODE_LENGTH: Final = 255
MAX_COOKIE_LENGTH: Final = 4096
"""What browsers keep of one cookie, in bytes."""

# Servers take some tens of kilobytes of headers at most; what is longer is an attack, and only its beginning is read.
_MAX_HEADER_LENGTH: Final = 65_536

# Bytes of UTF-8 that WSGI gives as Latin-1 lie in 0x80-0x9f too, so those control characters are not counted.
_UNUSABLE: Final = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")
_ESCAPE: Final = re.compile(r"\\(?:([0-3][0-7][0-7])|(.))", re.DOTALL)

# Names are written out because strftime follows the process's locale.
_WEEKDAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def parse_header(header: str | None) -> dict[str, str]:
    """
    Read a ``Cookie`` header, whatever other sites and proxies put into it.

    A part without a name or ``=`` is passed over and spoils no other. Quoted values are decoded as `http.cookies`
    writes them. Of several cookies of one name the last counts. Only the first 65,536 characters are read.

    Returns:
        ``{name: value}``; empty without a header.
    """
    cookies: dict[str, str] = {}
    for part in (header or "")[:_MAX_HEADER_LENGTH].split(";"):
        name, equals, value = part.partition("=")
        name = name.strip()
        if equals and name:
            cookies[name] = _unquoted(value.strip())
    return cookies


def _unquoted(value: str) -> str:
    if len(value) < 2 or value[0] != '"' or value[-1] != '"':
        return value
    return _ESCAPE.sub(_unescaped, value[1:-1])


def _unescaped(match: re.Match[str]) -> str:
    octal, character = match.groups()
    return chr(int(octal, 8)) if octal else str(character)


def visitor_code_in(cookies: Mapping[str, object]) -> str | None:
    """
    Find the visitor code among *cookies*, whose values are strings or morsels (`http.cookies`).

    Returns:
        The code as it stands there, neither decoded nor checked; ``None`` when absent or empty.
    """
    value = cookies.get(VISITOR_COOKIE)
    if isinstance(value, Morsel):
        value = value.value
    return value if isinstance(value, str) and value else None


def is_usable(code: str) -> bool:
    """Whether *code* from a browser may be used: 1 to 255 characters, no control character, encodable as UTF-8."""
    return 0 < len(code) <= MAX_CODE_LENGTH and _UNUSABLE.search(code) is None


def code_sent(cookies: Mapping[str, str]) -> str | None:
    """
    Find the visitor code that a browser sent.

    Args:
        cookies: What `parse_header` gave for the header as servers give it: its bytes read as Latin-1.

    Returns:
        The code, its bytes read as UTF-8 where they are that; ``None`` when it is absent or not `is_usable`.
    """
    code = visitor_code_in(cookies)
    if code is None:
        return None
    code = _as_utf8(code) or code
    return code if is_usable(code) else None


def _as_utf8(latin: str) -> str | None:
    """Text whose bytes were read as Latin-1 although they are UTF-8; ``None`` when they are not."""
    try:
        return latin.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return None


def coded(code: str) -> str:
    """
    Write *code* as the value of a cookie, as `http.cookies` does, and always in ASCII.

    That writes a Latin-1 character as one octal escape and leaves others alone, which no server sends. So a code with others, or
    one that `code_sent` would take for UTF-8, is written as the escapes of its UTF-8 bytes.
    """
    if not code.isascii() and (any(character > "\xff" for character in code) or _as_utf8(code) is not None):
        code = code.encode("utf-8", "surrogatepass").decode("latin-1")
    return SimpleCookie().value_encode(code)[1]


def header_with(header: str, code: str) -> str:
    """Put the visitor cookie with *code* into a ``Cookie`` header, in place of any that is there; others stay as they are."""
    parts = [part for part in header.split(";") if part.strip() and part.partition("=")[0].strip() != VISITOR_COOKIE]
    own = f"{VISITOR_COOKIE}={coded(code)}"
    return f"{';'.join(parts).strip()}; {own}" if parts else own


def is_visitor_cookie(set_cookie: str) -> bool:
    """Whether *set_cookie*, the value of a ``Set-Cookie`` header, sets the visitor cookie."""
    return set_cookie.partition("=")[0].strip() == VISITOR_COOKIE


def repeated(code: str) -> Morsel[str]:
    """Make the visitor cookie without attributes, as a browser sends it."""
    morsel: Morsel[str] = Morsel()
    morsel.set(VISITOR_COOKIE, code, coded(code))
    return morsel


@dataclass(frozen=True, slots=True)
class CookiePolicy:
    """
    How the visitor cookie is written.

    Attributes:
        domain: Its ``Domain``, as configured; empty for none.
        secure: Whether it has ``Secure``.
        samesite: Its ``SameSite``; ``None`` (default) for none, as on the wire today.
    """

    domain: str = ""
    secure: bool = False
    samesite: Literal["Strict", "Lax", "None"] | None = None

    def morsel(self, code: str, now_s: float) -> Morsel[str]:
        """
        Make the visitor cookie, which lives for 380 days from *now_s* (seconds since 1970).

        Raises:
            http.cookies.CookieError: *code* holds a control character and this Python's `http.cookies` refuses those.
        """
        return self._morsel(code, max_age_s=LIFETIME_S, expires_s=now_s + LIFETIME_S)

    def header(self, code: str, now_s: float) -> str:
        """Value of the ``Set-Cookie`` header for `morsel`; raises as that does."""
        return self.morsel(code, now_s).OutputString()

    def removal(self, now_s: float) -> Morsel[str]:
        """Make the cookie that deletes the visitor cookie in the browser."""
        return self._morsel("", max_age_s=0, expires_s=now_s - LIFETIME_S)

    def removal_header(self, now_s: float) -> str:
        """Value of the ``Set-Cookie`` header for `removal`."""
        return self.removal(now_s).OutputString()

    def _morsel(self, code: str, *, max_age_s: int, expires_s: float) -> Morsel[str]:
        morsel = repeated(code)
        morsel["path"] = "/"
        morsel["max-age"] = str(max_age_s)
        morsel["expires"] = _http_date(expires_s)
        if self.domain:
            morsel["domain"] = self.domain
        if self.samesite:
            morsel["samesite"] = self.samesite
        if self.secure:
            morsel["secure"] = True
        return morsel


def _http_date(time_s: float) -> str:
    moment = datetime.fromtimestamp(int(time_s), UTC)
    day, month = _WEEKDAYS[moment.weekday()], _MONTHS[moment.month - 1]
    return f"{day}, {moment.day:02} {month} {moment.year:04} {moment:%H:%M:%S} GMT"


def read_simulation(raw: str) -> dict[str, object] | None:
    """
    Read the value of the simulation cookie, a JSON object that may be percent-encoded.

    Returns:
        ``{flag key: what the cookie says of it}``, entries unchecked; ``None`` when it is not a JSON object.
    """
    if len(raw) > _MAX_HEADER_LENGTH:
        return None
    try:
        simulation = json.loads(unquote(raw))
    except (ValueError, RecursionError):
        return None
    return simulation if isinstance(simulation, dict) else None
