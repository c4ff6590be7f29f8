"""Who may connect: addresses, tokens and browsers."""

import hmac
import ipaddress
import os
import stat
from pathlib import Path
from urllib.parse import urlsplit

from ..errors import RecipeError
from ..files import named, open_regular

LEAST_TOKEN = 16
"""Smallest number of characters of a token."""
MOST_TOKEN = 1024
"""Largest number of characters of a token."""
_MAKE = "Make one that only you can read: umask 077; openssl rand -hex 32"


def is_loopback(host: str) -> bool:
    """Whether only programs on this machine reach an address.

    >>> is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("0.0.0.0"), is_loopback("robot")
    (True, True, False, False)
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_address(host: str, token: str | None) -> None:
    """Refuse to listen to other machines without a token.

    Raises:
        RecipeError: The address is reachable from other machines, and there is no token.
    """
    if token is None and not is_loopback(host):
        raise RecipeError(
            f"{host} may be reached from other machines, and whoever connects moves the robot. Give --token-file with "
            "a secret that clients must send, or listen on 127.0.0.1 and forward the port with ssh -L."
        )


def read_token(path: Path) -> str:
    """The secret of a file: one line of 16 to 1024 visible ASCII characters.

    Raises:
        RecipeError: The file holds something else, other users can read it, or it is a pipe or a device.
    """
    if not path.is_file() and (path.is_dir() or not path.exists()):
        what = "is a folder" if path.is_dir() else "does not exist"
        raise RecipeError(f"the token file {path} {what}. {_MAKE} > {'FILE' if path.is_dir() else path}")
    with open_regular(path, error=RecipeError) as file, named(path):
        mode, content = os.fstat(file.fileno()).st_mode, file.read(MOST_TOKEN + 2)
    if mode & (stat.S_IRGRP | stat.S_IROTH | stat.S_IWGRP | stat.S_IWOTH):
        raise RecipeError(f"other users of this machine can read or change {path}. Run: chmod 600 {path}")
    token = content.strip().decode("latin-1")
    if not _is_token(token):
        raise RecipeError(
            f"expected {path} to hold one line of {LEAST_TOKEN} to {MOST_TOKEN} visible ASCII characters. {_MAKE} > "
            f"{path}"
        )
    return token


def check_token(token: str | None) -> None:
    """Refuse a secret that is none, such as an empty text.

    Raises:
        RecipeError: The token is not 16 to 1024 visible ASCII characters.
    """
    if token is not None and not _is_token(token):
        raise RecipeError(
            f"expected a token of {LEAST_TOKEN} to {MOST_TOKEN} visible ASCII characters, or None, got one of "
            f"{len(token)}. Read one from a file with read_token(FILE)."
        )


def _is_token(token: str) -> bool:
    return LEAST_TOKEN <= len(token) <= MOST_TOKEN and all(33 <= ord(letter) <= 126 for letter in token)


def has_token(authorization: str | None, token: str | None) -> bool:
    """Whether the header `Authorization: Api-Key TOKEN` holds the token, compared in constant time.

    >>> has_token("Api-Key 0123456789abcdef", "0123456789abcdef"), has_token(None, "0123456789abcdef")
    (True, False)
    """
    if token is None:
        return True
    return hmac.compare_digest((authorization or "").encode("utf-8", "replace"), f"Api-Key {token}".encode())


def is_own_origin(origin: str | None, host: str | None) -> bool:
    """Whether a request comes from no page of a browser, or from one that this server could have sent.

    A page of another site, which a browser on this machine shows, must not move the robot. The name of such a site can
    be made to lead here (DNS rebinding), so a page's address must be a number or `localhost`.

    >>> is_own_origin(None, "127.0.0.1:8000"), is_own_origin("http://localhost:8000", "localhost:8000")
    (True, True)
    >>> is_own_origin("http://example.com:8000", "example.com:8000"), is_own_origin("null", "localhost:8000")
    (False, False)
    """
    if origin is None:
        return True
    try:
        parts = urlsplit(origin)
        name = parts.hostname or ""
        numeric = name == "localhost" or bool(ipaddress.ip_address(name))
    except ValueError:
        return False
    return numeric and parts.netloc == host
