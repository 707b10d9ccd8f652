"""``manage.py kameleoon_flags CODE``: what a visitor gets."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError

from kameleoon.exceptions import KameleoonError
from kameleoon.integrations.django.conf import get_client

if TYPE_CHECKING:
    from argparse import ArgumentParser


class Command(BaseCommand):
    """Shows each flag with the variation that a visitor gets. Nothing is tracked."""

    help = "Shows each flag with the variation that a visitor of whom nothing else is known gets. Nothing is tracked."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Say what the command takes."""
        parser.add_argument("visitor_code")
        parser.add_argument("--json", action="store_true", help="one JSON object: {flag: {variation, variables}}")

    def handle(self, *_: Any, **options: Any) -> None:
        """Show the flags."""
        client = get_client()
        if not client.is_ready():
            raise CommandError(
                "There is no configuration yet: the service cannot be reached, or the settings are wrong."
            )
        try:
            variations = client.get_variations(options["visitor_code"], track=False)
        except KameleoonError as error:
            raise CommandError(str(error)) from error
        rows: dict[str, dict[str, Any] | None] = {
            key: None
            if key not in variations
            else {
                "variation": variations[key].key,
                "variables": {name: variable.value for name, variable in variations[key].variables.items()},
            }
            for key in client.get_data_file().feature_flags
        }
        if options["json"]:
            self.stdout.write(json.dumps(rows, ensure_ascii=False, indent=2))
            return
        width = max(map(len, rows), default=0)
        for key, row in rows.items():
            if row is None:
                self.stdout.write(f"{key:{width}}  disabled")
                continue
            values = " ".join(f"{name}={value!r}" for name, value in row["variables"].items())
            self.stdout.write(f"{key:{width}}  {row['variation']}  {values}".rstrip())
