"""Text from outside (names in files, paths, messages of libraries) made harmless for terminals, pages and pictures.

Control characters and changes of the writing direction become visible escapes, and long words are shortened. On
terminals that cannot show a symbol, the error handler `PLAIN` writes it in ASCII.
"""

import codecs
import unicodedata

PLAIN = "holdfast.plain"
"""Name of the handler of encoding errors that replaces symbols by ASCII; see `codecs.register_error`."""

LONGEST_WORD, LONGEST_TEXT = 300, 20_000

_SPACES = {"\n": " ", "\t": " ", "\r": " ", "\v": " ", "\f": " ", "\x85": " ", "\u2028": " ", "\u2029": " "}
# control, format (bidi overrides, zero widths), surrogates of undecodable file names, private use and unassigned
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})

_ASCII = {
    "−": "-", "–": "-", "—": "-", "‑": "-", "─": "-", "━": "-", "│": "|", "┃": "|", "║": "|", "‖": "||",
    "╭": "+", "╮": "+", "╰": "+", "╯": "+", "┌": "+", "┐": "+", "└": "+", "┘": "+", "├": "+", "┤": "+", "┬": "+",
    "┴": "+", "┼": "+", "╸": "-", "╺": "-", "►": ">", "●": "*", "→": "->", "←": "<-", "↔": "<->", "↑": "^", "↓": "v",
    "·": "*", "×": "x", "÷": "/", "±": "+-", "≤": "<=", "≥": ">=", "≈": "~", "≠": "!=", "∞": "inf", "√": "sqrt",
    "Σ": "sum", "∂": "d", "∝": "~", "…": "...", "“": '"', "”": '"', "‘": "'", "’": "'", "′": "'", "°": " deg",
    "∘": "o", "⊙": "*", "∇": "grad", "∫": "int", "⊆": "in", "↦": "|->", "⇒": "=>", "⋯": "...", "⌊": "[", "⌋": "]",
    "⌈": "[", "⌉": "]", "∅": "none",
    "ς": "s", "ø": "o", "Ø": "O", "ß": "ss", "ψ": "psi", "ζ": "zeta", "ν": "nu", "Γ": "Gamma", "Λ": "Lambda",
    "Ω": "Omega", "∈": "in", "½": "1/2", "¼": "1/4", "¾": "3/4", "⅔": "2/3", "\u0302": "^", "\u0303": "~",
    "\u0304": "", "\u0307": "'", "\u0308": '"', "χ": "chi", "•": "*",
    "α": "alpha", "β": "beta", "γ": "gamma", "δ": "delta", "Δ": "Delta", "ε": "epsilon", "η": "eta", "θ": "theta",
    "κ": "kappa", "λ": "lambda", "μ": "mu", "µ": "u", "ξ": "xi", "π": "pi", "ρ": "rho", "σ": "sigma", "τ": "tau",
    "φ": "phi", "Φ": "Phi", "ω": "omega", "Π": "prod", "ℓ": "l",
}  # fmt: skip


def printable(text: object, *, longest_word: int = LONGEST_WORD) -> str:
    r"""A text on one line, with visible escapes in place of control characters, and long words shortened.

    >>> printable("clear\x1b[2J \u202e\x9b31m two\nlines")
    'clear\\x1b[2J \\u202e\\x9b31m two lines'
    >>> printable("a" * 10_000, longest_word=9)
    'aaaaa…aaa'
    """
    visible = shortened(str(text), LONGEST_TEXT).translate(_Visible())
    return " ".join(shortened(word, longest_word) for word in visible.split(" "))


def shortened(text: str, longest: int) -> str:
    """A text of at most `longest` characters, with an ellipsis for the removed middle."""
    if len(text) <= longest:
        return text
    end = longest // 3
    return f"{text[: longest - end - 1]}…{text[-end:]}"


def in_lines(text: str, *, longest_word: int = LONGEST_WORD) -> str:
    """A text of several lines, such as a traceback, each of them printable."""
    return "\n".join(printable(line, longest_word=longest_word) for line in text.split("\n"))


class _Visible(dict[int, str]):
    """The table of `str.translate`, filled when a character first occurs."""

    def __missing__(self, code: int) -> str:
        self[code] = shown = _SPACES.get(chr(code)) or _escaped(chr(code))
        return shown


def _escaped(letter: str) -> str:
    if unicodedata.category(letter) not in _HIDDEN:
        return letter
    return letter.encode("unicode_escape", "surrogatepass").decode("ascii")


def _plain(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(_in_ascii, error.object[error.start : error.end])), error.end


def _in_ascii(letter: str) -> str:
    if letter in _ASCII:
        return _ASCII[letter]
    parts = unicodedata.normalize("NFKD", letter)
    simple = "".join(_ASCII.get(part, part if part.isascii() else "") for part in parts)
    return simple or letter.encode("unicode_escape", "surrogatepass").decode("ascii")


codecs.register_error(PLAIN, _plain)
