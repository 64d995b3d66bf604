"""Texts without what looks like a secret, for what is kept and committed.

By the names of options, variables and keys, and by the look of well-known tokens; no more than that.
Every pattern looks at a bounded stretch, so that no text takes long.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable

HIDDEN = "[redacted]"
_CONFIDENTIAL = (
    r"(?:passw(?:or)?d|passphrase|secret|credential)s?"
    r"|(?:api|access|private|auth|client|signing|encryption|license|secret)[_.-]?keys?"
    r"|(?<!pad)(?<!bos)(?<!eos)(?<!unk)(?<!sep)(?<!cls)(?<!mask)(?<!image)(?<!special)(?<!next)[_.-]token"
    r"|(?<![a-z_.-])token|(?<![a-z])pwd|(?<=[_.-])pass|(?<=[_.-])pat"
)
_NAMED = re.compile(
    rf"(?P<name>(?:{_CONFIDENTIAL})(?![a-z])[\"']?[ \t]{{0,9}}[=:][ \t]{{0,9}})"
    r"(?:(?P<quote>[\"'])(?:\\.|(?!(?P=quote))[^\\\n]){4,400}(?P=quote)"
    r"|(?=[^\s\"',;&(){}\[\].]{0,200}\d)[^\s\"',;&(){}\[\].]{6,200}(?![(\[.\w]))",
    re.IGNORECASE,
)
"""A value in quotes, or one with a digit in it that is no call and no attribute."""
_USERINFO = re.compile(r"(?P<scheme>\b[a-z][a-z0-9+.-]{0,20}://)[^/\s]{1,200}@", re.IGNORECASE)
_BEARER = re.compile(
    r"\b(?P<kind>bearer|authorization:[ \t]{0,4}basic)[ \t]{1,4}[\w+/=.~-]{3,2000}", re.IGNORECASE
)
_PRIVATE = re.compile(
    r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----[\s\S]{0,8000}?(?:-----END [A-Z ]{0,40}-----|\Z)"
)
_TOKEN = re.compile(
    r"\b(?:sk-[\w-]{16,200}|sk_live_\w{10,200}|gh[oprsu]_\w{20,255}|github_pat_\w{20,255}|glpat-[\w-]{15,200}"
    r"|hf_\w{20,200}|A[KS]IA[0-9A-Z]{16}|AIza[\w-]{30,60}|xox[a-z]-[\w-]{10,200}|pypi-[\w-]{16,500}"
    r"|npm_\w{20,200}|r8_\w{20,200}|lsv2_\w{20,200}|a[ks]-[A-Za-z0-9]{20,200}"
    r"|eyJ[\w-]{10,2000}\.[\w-]{10,4000}\.[\w-]{0,2000})"
)
_IS_CONFIDENTIAL = re.compile(rf"(?:{_CONFIDENTIAL})$", re.IGNORECASE)
_LEAST = 8
_NO_SECRETS = frozenset({"PWD", "OLDPWD"})
"""A shell's working folder, not a password: it stands in every path."""


def is_secret(name: str) -> bool:
    """Return whether an option or a variable of such a name holds a secret."""
    return bool(_IS_CONFIDENTIAL.search(name.strip("\"' ")))


def redacted(text: str) -> str:
    """Return a text without users in addresses, values of secret names, and tokens by their look.

    Values of environment variables with secret names go, wherever they stand.
    """
    text = _PRIVATE.sub(HIDDEN, text)
    text = _USERINFO.sub(rf"\g<scheme>{HIDDEN}@", text)
    text = _TOKEN.sub(HIDDEN, text)
    text = _BEARER.sub(rf"\g<kind> {HIDDEN}", text)
    for value in _known():
        text = text.replace(value, HIDDEN)
    return _NAMED.sub(rf"\g<name>{HIDDEN}", text)


def command(arguments: Iterable[str]) -> list[str]:
    """Return a command line without secrets: what an option of a secret name has goes as a whole."""
    found: list[str] = []
    hide = False
    for argument in arguments:
        head, sign, value = argument.rpartition("=")
        if hide and not argument.startswith("--"):
            found.append(HIDDEN)
        elif sign and value and is_secret(head):
            found.append(f"{redacted(head)}={HIDDEN}")
        else:
            found.append(redacted(argument))
        hide = argument.startswith("--") and not sign and is_secret(argument)
    return found


def _known() -> list[str]:
    values = (value for name, value in os.environ.items() if is_secret(name) and name not in _NO_SECRETS)
    return sorted((value for value in values if len(value) >= _LEAST), key=len, reverse=True)
