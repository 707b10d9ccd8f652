"""The error tree: texts, bases, and copies."""

import copy
import pickle

import pytest

from kameleoon import exceptions as e

CASES = [
    (e.KameleoonError("X"), Exception, "X"),
    (e.ConfigException("X"), e.KameleoonError, "X"),
    (e.ConfigFileNotFound("X"), e.ConfigException, "X"),
    (e.ConfigCredentialsInvalid("X"), e.ConfigException, "X"),
    (e.SiteCodeIsEmpty("Provided site_code is empty"), e.KameleoonError, "Provided site_code is empty"),
    (
        e.Initialization("site", "staging", ValueError("why")),
        e.KameleoonError,
        "SDK is not initialized for siteCode: 'site', environment: 'staging'. Reason: why",
    ),
    (
        e.Initialization("site", None, None),
        e.KameleoonError,
        "SDK is not initialized for siteCode: 'site', environment: 'None'. Reason: unknown",
    ),
    (e.NotFoundError("X"), e.KameleoonError, "X not found."),
    (e.FeatureError("X"), e.KameleoonError, "Feature error: X"),
    (e.FeatureVariationNotFound("X"), e.NotFoundError, "Variation X not found."),
    (e.FeatureNotFound("X"), e.NotFoundError, "Feature flag Id: X not found."),
    (e.FeatureExperimentNotFound(7), e.NotFoundError, "Experiment 7 not found."),
    (e.FeatureVariableNotFound("X"), e.NotFoundError, "Feature variable X not found."),
    (e.FeatureEnvironmentDisabled("X"), e.FeatureError, "Feature error: X"),
    (
        e.FeatureEnvironmentDisabled.for_feature("flag", "staging"),
        e.FeatureError,
        "Feature error: Feature 'flag' is disabled for 'staging' environment",
    ),
    (
        e.FeatureEnvironmentDisabled.for_feature("flag", None),
        e.FeatureError,
        "Feature error: Feature 'flag' is disabled for default environment",
    ),
    (e.VisitorCodeInvalid("empty visitor code"), e.KameleoonError, "Visitor code not valid: empty visitor code"),
]


@pytest.mark.parametrize(("error", "base", "text"), CASES)
def test_text_and_base(error, base, text):
    """Each error has its base and the exact text, as a string and as a message."""
    assert type(error).__bases__ == (base,)
    assert str(error) == error.message == f"Kameleoon error: {text}"


@pytest.mark.parametrize("error", [case[0] for case in CASES])
@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))])
def test_copies(error, duplicate):
    """A copy, as another process gets it, says the same and holds the same facts."""
    twin = duplicate(error)
    assert type(twin) is type(error)
    assert twin.message == error.message
    assert {name: str(fact) for name, fact in vars(twin).items()} == {
        name: str(fact) for name, fact in vars(error).items()
    }


def test_facts():
    """What an error is about can be read without taking its text apart."""
    cause = ValueError("why")
    error = e.Initialization("site", "staging", cause)
    assert (error.site_code, error.environment, error.cause) == ("site", "staging", cause)
    assert e.FeatureNotFound("flag").key == "flag"
    assert e.VisitorCodeInvalid("empty visitor code").reason == "empty visitor code"


def test_exports():
    """Everything in the tree is exported, in order."""
    defined = {name for name, thing in vars(e).items() if isinstance(thing, type)}
    assert sorted(defined) == e.__all__


def test_tree_in_the_docstring():
    """The drawn tree names every error."""
    assert all(name in e.__doc__ for name in e.__all__)
