"""The configuration as applications see it: flags, their variations, and what each rule can give."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kameleoon.types.data_file import DataFile
from kameleoon.types.feature_flag import FeatureFlag
from kameleoon.types.rule import Rule
from kameleoon.types.variable import Variable
from kameleoon.types.variation import Variation

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kameleoon._datafile import model


def public_view(date_modified: int, flags: Iterable[model.Flag]) -> DataFile:
    """
    The public data file.

    Args:
        date_modified: Time of the last change, in milliseconds since 1970.
        flags: All flags, in their order.
    """
    return DataFile({flag.key: _flag(flag) for flag in flags}, date_modified)


def _flag(flag: model.Flag) -> FeatureFlag:
    variations = {
        variation.key: Variation(
            variation.key,
            None,
            None,
            {variable.key: Variable(variable.key, variable.type, variable.value) for variable in variation.variables},
            variation.name,
        )
        for variation in flag.variations
    }
    rules = tuple(
        Rule(
            {
                share.variation_key: Variation(
                    share.variation_key,
                    share.variation_id,
                    rule.experiment_id,
                    variations[share.variation_key].variables,
                    variations[share.variation_key].name,
                )
                for share in rule.shares
                if share.variation_key in variations
            }
        )
        for rule in flag.rules
    )
    return FeatureFlag(variations, flag.enabled, rules, flag.default_variation_key)
