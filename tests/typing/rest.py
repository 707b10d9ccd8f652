"""Uses of the clients of the REST APIs as applications write them. Checked by mypy and never run, see ``test_rest_typing.py``."""

from typing import Any, assert_type

from kameleoon.api.automation import AsyncAutomationApi, AutomationApi
from kameleoon.api.bulk import BulkReport
from kameleoon.api.data import AsyncDataApi, Credentials, DataApi
from kameleoon.api.data_events import conversion
from kameleoon.api.data_models import VisitorData
from kameleoon.api.feature_flags import EnvironmentConfiguration
from kameleoon.api.filters import where
from kameleoon.api.goals import Goal

with DataApi("site", Credentials("id", "secret"), region="eu") as data:
    assert_type(data.get_map("k"), dict[str, Any])
    assert_type(data.get_visitor("u", fields=("page",)), VisitorData)
    assert_type(data.send_events([conversion(1, visitor_code="u")]), int)
    assert_type(data.import_maps({"k": {"a": 1}}, progress=True), BulkReport)
    data.get_map(5)  # type: ignore[arg-type]
    data.get_visitor(fields=("pages",))  # type: ignore[arg-type]


async def ask() -> None:
    """The same, awaited."""
    async with AsyncDataApi("site") as adata:
        assert_type(await adata.get_map("k"), dict[str, Any])
        assert_type(await adata.forget(["u"]), BulkReport)


with AutomationApi(Credentials("id", "secret")) as automation:
    assert_type(automation.goals.get(1), Goal)
    assert_type(next(automation.goals.list(where("siteId") == 41)), Goal)
    assert_type(automation.feature_flags.get("site", "key").environment("production"), EnvironmentConfiguration | None)
    automation.goals.get("1")  # type: ignore[arg-type]


async def manage() -> None:
    """The same, awaited."""
    async with AsyncAutomationApi(Credentials("id", "secret")) as amanaged:
        assert_type(await amanaged.goals.update(1, name="x"), Goal)
        async for goal in amanaged.goals.list():
            assert_type(goal, Goal)
