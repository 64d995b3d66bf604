"""What is kept has no secrets in it, and everything else as it was."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_exprunner._util.redaction import HIDDEN, command, is_secret, redacted


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://me:s3cret@host.example/x", f"https://{HIDDEN}@host.example/x"),
        ("git clone https://ghp_abcdefghijklmnopqrstu@host/x", f"git clone https://{HIDDEN}@host/x"),
        ('api_key = "0123456789"', f"api_key = {HIDDEN}"),
        ("{'wandb-api-key': 'abcdefgh'}", f"{{'wandb-api-key': {HIDDEN}}}"),
        ("+PASSWORD=hunter2hunter2hunter2", f"+PASSWORD={HIDDEN}"),
        ("PGPASSWORD=hunter2", f"PGPASSWORD={HIDDEN}"),
        ("password: hunter2\n", f"password: {HIDDEN}\n"),
        ("https://host/x?access_token=abc123def&y=1", f"https://host/x?access_token={HIDDEN}&y=1"),
        ("postgresql://u:p@ss@host/db", f"postgresql://{HIDDEN}@host/db"),
        ("Authorization: Bearer zzz", f"Authorization: Bearer {HIDDEN}"),
        ("-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----", HIDDEN),
        ("glpat-abcdefghijklmnop", HIDDEN),
        ("db.password='hunter2'", f"db.password={HIDDEN}"),
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
        'pad_token = "<|endoftext|>"',
        'sort(key="validation_loss")',
        'primary_key = "subject_id"',
        "max_tokens = 512000",
        "tokens_seen = 123456",
        "password = get_password(1)",
        "token = tokens.pop0",
        "basic training of 12 epochs",
        "compass: 123456",
        "accuracy: 0.123456789012345678",
    ],
)
def test_what_stays(text: str) -> None:
    """Code and prose about keys are no keys."""
    assert redacted(text) == text


def test_command_lines() -> None:
    """Values of options with secret names go, in one word or two."""
    line = [
        "--url",
        "https://u:p@h/?access_token=abc",
        "--env=API_KEY=abc",
        "--max-tokens",
        "512",
        "db.password=x",
    ]
    hidden = [
        "--url",
        f"https://{HIDDEN}@h/?access_token={HIDDEN}",
        f"--env=API_KEY={HIDDEN}",
        "--max-tokens",
        "512",
    ]
    assert command(line) == [*hidden, f"db.password={HIDDEN}"]
    assert command(["--password", "-abc", "-k", "x"]) == ["--password", HIDDEN, "-k", "x"]
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
        ("MAX_TOKENS", False),
        ("sort-key", False),
        ("PGPASSWORD", True),
        ("DB_PASS", True),
        ("GITHUB_PAT", True),
        ("db.password", True),
        ("MYSQL_PWD", True),
    ],
)
def test_names(name: str, secret: bool) -> None:
    """Whole words of a name."""
    assert is_secret(name) is secret


@given(st.text(max_size=200))
def test_once_is_enough(text: str) -> None:
    """Redacting again changes nothing, and nothing raises."""
    assert redacted(redacted(text)) == redacted(text)


@pytest.mark.parametrize(
    "unit",
    [
        "a",
        "a-",
        "key",
        "key=",
        "a.",
        "0123456789abcdef",
        "eyJ",
        "a://",
        "token=1",
        "-----BEGIN PRIVATE KEY-----",
    ],
)
def test_no_text_takes_long(unit: str) -> None:
    """A text of twice the length takes about twice as long, whatever it consists of."""
    began = time.process_time()
    redacted(unit * (200_000 // len(unit)))
    assert (
        time.process_time() - began < 20
    )  # quadratic, it would take an hour; no matter how slow the machine
