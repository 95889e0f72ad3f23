"""Which words STOPSIGNAL takes."""

from __future__ import annotations

import re
import signal

_REALTIME = re.compile(r"RTM(?:IN(?:\+\d{1,2})?|AX(?:-\d{1,2})?)\Z")


def is_signal(text: str) -> bool:
    """Say whether text is a signal's number (1 to 64) or name, with or without SIG, in any case."""
    if text.isascii() and text.isdigit():
        return 1 <= int(text[:4]) <= 64
    name = text.upper().removeprefix("SIG")
    return f"SIG{name}" in signal.Signals.__members__ or bool(_REALTIME.match(name))
