"""
The Automation API: sites, flags, experiments and what belongs to them. `AutomationApi` blocks, `AsyncAutomationApi` is awaited.

Source:
    docs/automation-api.md.
"""

from __future__ import annotations

from weakref import WeakKeyDictionary

from kameleoon._transport.aiohttp_sender import AiohttpSender
from kameleoon._transport.fork import ForkSafeLock
from kameleoon._transport.requests_sender import RequestsSender
from kameleoon.api.access import Access, Credentials, shared_access
from kameleoon.api.caller import Caller
from kameleoon.api.custom_data import AsyncCustomData, CustomData
from kameleoon.api.environments import AsyncEnvironments, Environments
from kameleoon.api.experiments import AsyncExperiments, Experiments
from kameleoon.api.feature_flags import AsyncFeatureFlags, FeatureFlags
from kameleoon.api.goals import AsyncGoals, Goals
from kameleoon.api.limiter import Limiter, Rate
from kameleoon.api.personalizations import AsyncPersonalizations, Personalizations
from kameleoon.api.results import AsyncResults, Results
from kameleoon.api.segments import AsyncSegments, Segments
from kameleoon.api.sites import AsyncSites, Sites
from kameleoon.api.twins import AsyncClient, BlockingClient
from kameleoon.api.users import AsyncUsers, Users
from kameleoon.api.variations import AsyncVariations, Variations

__all__ = ["AsyncAutomationApi", "AutomationApi", "Credentials"]

DEFAULT_URL = "https://api.kameleoon.com"

RATES = (Rate(50, 10.0), Rate(1000, 3600.0))
"""For each access token, both at once. Source: docs/automation-api.md, "Rates"."""

_limiters: WeakKeyDictionary[Access, Limiter] = WeakKeyDictionary()
_limiters_lock = ForkSafeLock()


def _caller(access: Credentials | Access, base_url: str, timeout_s: float, patience_s: float | None) -> Caller:
    if isinstance(access, Credentials):
        access = shared_access(f"{base_url.rstrip('/')}/oauth/token", access)
    with _limiters_lock:
        limiter = _limiters.get(access)
        if limiter is None:
            limiter = _limiters[access] = Limiter(*RATES)
    return Caller(
        base_url,
        access,
        lambda _method, _has_token: limiter,
        timeout_s=timeout_s,
        patience_s=patience_s,
        renew_after_403=True,
    )


class AutomationApi(BlockingClient):
    """
    Blocking client of the Automation API, for any number of threads.

    Args:
        access: Client id and secret, or the access of a user from `kameleoon.api.oauth`. All clients of the process with the same one share
            its token and its rates.
        base_url: Another base URL, such as the local server's.
        timeout_s: Seconds for each attempt.
        patience_s: Longest wait of one call for rates and between tries, in seconds; ``None`` is for ever. The hourly rate may
            ask for nearly an hour.

    Attributes:
        sites: Sites.
        feature_flags: Flags with rules, variations, variables, environments.
        environments: Environments of a site.
        experiments: Experiments.
        variations: Variations of web experiments.
        goals: Goals.
        segments: Segments.
        custom_data: Custom data.
        personalizations: Personalizations.
        results: Results of flags and experiments.
        users: Users.

    Raises:
        ValueError: An argument is not as described.
    """

    def __init__(
        self,
        access: Credentials | Access,
        *,
        base_url: str = DEFAULT_URL,
        timeout_s: float = 30.0,
        patience_s: float | None = None,
    ) -> None:
        caller, sender = _caller(access, base_url, timeout_s, patience_s), RequestsSender()
        super().__init__(caller, sender)
        self.sites = Sites(caller, sender)
        self.feature_flags = FeatureFlags(caller, sender)
        self.environments = Environments(caller, sender)
        self.experiments = Experiments(caller, sender)
        self.variations = Variations(caller, sender)
        self.goals = Goals(caller, sender)
        self.segments = Segments(caller, sender)
        self.custom_data = CustomData(caller, sender)
        self.personalizations = Personalizations(caller, sender)
        self.results = Results(caller, sender)
        self.users = Users(caller, sender)


class AsyncAutomationApi(AsyncClient):
    """`AutomationApi` for asyncio: the same resources, whose calls are awaited and whose lists are asynchronous iterators."""

    def __init__(
        self,
        access: Credentials | Access,
        *,
        base_url: str = DEFAULT_URL,
        timeout_s: float = 30.0,
        patience_s: float | None = None,
    ) -> None:
        caller, sender = _caller(access, base_url, timeout_s, patience_s), AiohttpSender()
        super().__init__(caller, sender)
        self.sites = AsyncSites(caller, sender)
        self.feature_flags = AsyncFeatureFlags(caller, sender)
        self.environments = AsyncEnvironments(caller, sender)
        self.experiments = AsyncExperiments(caller, sender)
        self.variations = AsyncVariations(caller, sender)
        self.goals = AsyncGoals(caller, sender)
        self.segments = AsyncSegments(caller, sender)
        self.custom_data = AsyncCustomData(caller, sender)
        self.personalizations = AsyncPersonalizations(caller, sender)
        self.results = AsyncResults(caller, sender)
        self.users = AsyncUsers(caller, sender)
