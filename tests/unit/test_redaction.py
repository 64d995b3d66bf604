"""What is kept has no secrets in it, and everything else as it was."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_exprunner.redaction import HIDDEN, command, is_secret, redacted


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://me:s3cret@host.example/x", f"https://{HIDDEN}@host.example/x"),
        ("git clone https://ghp_abcdefghijklmnopqrstu@host/x", f"git clone https://{HIDDEN}@host/x"),
        ('api_key = "0123456789"', f"api_key = {HIDDEN}"),
        ("{'wandb-api-key': 'abcdefgh'}", f"{{'wandb-api-key': {HIDDEN}}}"),
        ("+PASSWORD=hunter2hunter2hunter2", f"+PASSWORD={HIDDEN}"),
        ("sk-abcdefghijklmnop1234", HIDDEN),
        ("export AWS_ACCESS=AKIAABCDEFGHIJKLMNOP", f"export AWS_ACCESS={HIDDEN}"),
        ("value of the environment: from-the-environment!", f"value of the environment: {HIDDEN}"),
    ],
)
def test_what_goes(text: str, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Addresses with users, values of secret names, tokens by their look, and what the environment hides."""
    monkeypatch.setenv("MY_SERVICE_TOKEN", "from-the-environment!")
    assert redacted(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "key=lambda row: row.score",
        "token = next(tokens)",
        "the key features of attention",
        "https://host.example/a:b@c",
        "keys = sorted(values)",
        "sk-learn",
        "accuracy: 0.123456789012345678",
    ],
)
def test_what_stays(text: str) -> None:
    """Code and prose about keys are no keys."""
    assert redacted(text) == text


def test_command_lines() -> None:
    """Values of options with secret names go, in one word or two."""
    line = ["pytest", "--api-key", "abc", "--token=x", "-k", "e_1", "--monkey", "banana"]
    assert command(line) == [
        "pytest",
        "--api-key",
        HIDDEN,
        f"--token={HIDDEN}",
        "-k",
        "e_1",
        "--monkey",
        "banana",
    ]


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("WANDB_API_KEY", True),
        ("AWS_SECRET_ACCESS_KEY", True),
        ("github-token", True),
        ("keyword", False),
        ("KEYBOARD", False),
        ("PATH", False),
        ("exp_results", False),
    ],
)
def test_names(name: str, secret: bool) -> None:
    """Whole words of a name."""
    assert is_secret(name) is secret


@given(st.text(max_size=200))
def test_once_is_enough(text: str) -> None:
    """Redacting again changes nothing, and nothing raises."""
    assert redacted(redacted(text)) == redacted(text)
