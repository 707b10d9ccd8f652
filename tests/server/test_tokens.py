"""Access tokens: good until they expire, and only where they were issued."""

from kameleoon.server.tokens import LIFETIME_S, Tokens


def test_a_token_expires():
    """A token is good for its lifetime and not a second longer."""
    tokens = Tokens()
    token = tokens.issue("client", 1000.5)
    assert tokens.is_good(token, 1000 + LIFETIME_S - 1)
    assert not tokens.is_good(token, 1000 + LIFETIME_S)


def test_a_token_of_another_server_is_none():
    """A token that another server signed, or that was changed, is refused."""
    tokens = Tokens()
    token = tokens.issue("client", 0)
    header, claims, signature = token.split(".")
    assert not Tokens().is_good(token, 1)
    assert not tokens.is_good(f"{header}.{claims}A.{signature}", 1)
    assert not tokens.is_good(f"{header}.{claims}", 1)
    assert not tokens.is_good("", 1)
