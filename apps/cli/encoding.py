"""Text outside ASCII, whatever the locale: names of files and arguments are UTF-8 bytes on disk and on terminals."""

from __future__ import annotations

import os
import sys


def use_utf8() -> None:
    """Start again in UTF-8 mode where a C locale made ASCII of everything; never fail at printing a name.

    Python turns the mode on by itself for a C locale, but not where ``PYTHONUTF8=0`` or an old Latin-1 locale is set.
    """
    if sys.getfilesystemencoding().lower() not in ("utf-8", "utf8") and sys.orig_argv:
        os.environ["PYTHONUTF8"] = "1"
        os.environ["PYTHONIOENCODING"] = "utf-8"
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
