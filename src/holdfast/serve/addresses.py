"""Addresses and secrets as users write them: the server's host and port, the client's URL and token."""

import ipaddress
import re
from urllib.parse import urlsplit

from ..errors import RecipeError, ServerError

_LABELS = re.compile(r"(?!-)[\w-]{1,63}(?<!-)(\.(?!-)[\w-]{1,63}(?<!-))*\.?")


def host_of(text: str) -> str:
    """The address or name on which a server listens, as the system takes it: without brackets and outer spaces.

    Raises:
        RecipeError: The text is no address or name; a port belongs to `--port`.

    >>> host_of("[::1]"), host_of("LOCALHOST"), host_of("0.0.0.0")
    ('::1', 'localhost', '0.0.0.0')
    """
    host = text.strip()
    host = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if _is_number(host) or (len(host) <= 253 and _LABELS.fullmatch(host)):
        return host.lower()
    raise RecipeError(
        f"expected --host as an address or a name of this machine, without a scheme or a port, such as 127.0.0.1 or "
        f"0.0.0.0, got {text!r:.80}. Give the port as --port."
    )


def check_port(port: int) -> None:
    """Refuse a number that no port has.

    Raises:
        RecipeError: The port is not from 0 to 65535.
    """
    if type(port) is not int or not 0 <= port <= 65535:
        raise RecipeError(f"expected a port from 0 (any free one) to 65535, got {port!r:.80}.")


def check_url(url: str) -> None:
    """Refuse what is no address of a policy server, so that nobody waits for it.

    Raises:
        ServerError: The scheme, the host or the port is missing or is none, or there are a name and a password.
    """
    try:
        parts = urlsplit(url)
        fits = parts.scheme in ("ws", "wss") and parts.hostname and (parts.port is None or parts.port > 0)
        if fits and parts.username is None and parts.password is None:
            return
    # a port beyond 65535 or of letters, or half a bracket
    except ValueError:
        pass
    # a password does not belong into a log
    got = "one with them" if "@" in str(url) else f"{url!r:.200}"
    raise ServerError(
        f"expected the address of a server such as ws://127.0.0.1:8000, without a name and a password, got {got}."
    )


def token_header(token: str | None) -> dict[str, str]:
    """The header that holds a token, which may end with a line break, as one that is read from a file does.

    Raises:
        RecipeError: It is no line of visible ASCII characters.
    """
    if token is None:
        return {}
    secret = token.strip()
    if not secret or not all(33 <= ord(letter) <= 126 for letter in secret):
        raise RecipeError(
            "expected the token as text, one line of visible ASCII characters: the content of the server's "
            "--token-file, or None for a server without one."
        )
    return {"Authorization": f"Api-Key {secret}"}


def _is_number(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
