"""Which of a visitor's data the service is asked for."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RemoteVisitorDataFilter:
    """
    Which of a visitor's data ``get_remote_visitor_data`` asks the service for.

    Attributes:
        previous_visit_amount: How many earlier visits, 1 to 25; not checked here.
        current_visit: The visit that is going on.
        custom_data: Custom data.
        page_views: Pages looked at.
        geolocation: Where the visitor is.
        device: Kind of device.
        browser: Browser.
        operating_system: Operating system.
        conversions: Goals reached.
        experiments: Variations assigned earlier.
        kcs: Key moment scores.
        visitor_code: Take over the code of the visitor's latest visit for bucketing.
        cbs: Contextual bandit scores.
        personalization: Personalizations shown earlier.

    Source:
        docs/service/network.md 6.2.
    """

    previous_visit_amount: int = 1
    current_visit: bool = True
    custom_data: bool = True
    page_views: bool = False
    geolocation: bool = False
    device: bool = False
    browser: bool = False
    operating_system: bool = False
    conversions: bool = False
    experiments: bool = False
    kcs: bool = False
    visitor_code: bool = True
    cbs: bool = False
    personalization: bool = False
