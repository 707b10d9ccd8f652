"""
OpenFeature's OFREP provider for Python as any application uses it, against the local server.

Run by `test_ofrep_provider.py` with the interpreter of an environment that has ``openfeature-provider-ofrep`` and nothing of this library.

    python ofrep_provider.py <base URL>

Each line of standard input is ``[type, flag key, default, targeting key, attributes]``; for each it prints what the application gets as
``{"value", "variant", "reason", "error", "metadata"}``.
"""

import json
import sys

from openfeature import api
from openfeature.contrib.provider.ofrep import OFREPProvider
from openfeature.evaluation_context import EvaluationContext

api.set_provider(OFREPProvider(sys.argv[1]))
client = api.get_client()
for line in sys.stdin:
    kind, key, default, code, attributes = json.loads(line)
    ask = getattr(client, f"get_{kind}_details")
    found = ask(key, default, EvaluationContext(code, attributes))
    said = {
        "value": found.value,
        "variant": found.variant,
        "reason": found.reason,
        "error": found.error_code,
        "metadata": dict(found.flag_metadata or {}),
    }
    print(json.dumps(said), flush=True)
