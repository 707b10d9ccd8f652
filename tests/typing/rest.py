"""Uses of the clients of the REST APIs as applications write them. Checked by mypy and never run, see ``test_rest_typing.py``."""

from typing import Any, assert_type

from kameleoon.api.bulk import BulkReport
from kameleoon.api.data import AsyncDataApi, Credentials, DataApi
from kameleoon.api.data_events import conversion
from kameleoon.api.data_models import VisitorData

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
