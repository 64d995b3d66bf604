"""Texts without what looks like a secret, for what is kept and committed."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable

HIDDEN = "[redacted]"
_CONFIDENTIAL = (
    r"(?:api|access|private|auth|client|session)?[_-]?(?:key|token|secret|passw(?:or)?d|credentials?)s?"
)
_NAMED = re.compile(
    rf"(?P<name>[\w-]*{_CONFIDENTIAL}[\"']?\s*[=:]\s*)"
    r"(?:(?P<quote>[\"'])(?:(?!(?P=quote)).){6,}(?P=quote)|(?=[\w+/=.-]*\d)(?=[\w+/=.-]*[A-Za-z])[\w+/=.-]{16,})",
    re.IGNORECASE,
)
"""A value in quotes, or one that no name in code looks like."""
_USERINFO = re.compile(r"(?P<scheme>\b[a-z][a-z0-9+.-]*://)[^/\s:@]+(?::[^/\s@]*)?@", re.IGNORECASE)
_TOKEN = re.compile(
    r"\b(?:sk-[\w-]{16,}|gh[opsu]_\w{20,}|github_pat_\w{20,}|hf_\w{20,}|AKIA[0-9A-Z]{16}|xox[abp]-[\w-]{10,}"
    r"|a[ks]-[A-Za-z0-9]{20,}|eyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]*)"
)
_IS_SECRET = re.compile(rf"(?:^|_){_CONFIDENTIAL}(?:$|_)", re.IGNORECASE)
_LEAST = 8


def is_secret(name: str) -> bool:
    """Tell whether an option or a variable of such a name holds a secret."""
    return bool(_IS_SECRET.search(name.replace("-", "_")))


def redacted(text: str) -> str:
    """Return a text without user names in addresses, values of secret names, and tokens by their look.

    Values of environment variables with secret names go, wherever they stand.
    """
    text = _USERINFO.sub(rf"\g<scheme>{HIDDEN}@", text)
    text = _TOKEN.sub(HIDDEN, text)
    for value in _known():
        text = text.replace(value, HIDDEN)
    return _NAMED.sub(rf"\g<name>{HIDDEN}", text)


def command(arguments: Iterable[str]) -> list[str]:
    """Return a command line without secrets: what follows an option of a secret name goes as a whole."""
    found: list[str] = []
    hide = False
    for argument in arguments:
        name, sign, _value = argument.partition("=")
        if hide and not argument.startswith("-"):
            found.append(HIDDEN)
        elif sign and is_secret(name.lstrip("-")):
            found.append(f"{name}={HIDDEN}")
        else:
            found.append(redacted(argument))
        hide = argument.startswith("--") and not sign and is_secret(name.lstrip("-"))
    return found


def _known() -> list[str]:
    values = (value for name, value in os.environ.items() if is_secret(name))
    return sorted((value for value in values if len(value) >= _LEAST), key=len, reverse=True)
