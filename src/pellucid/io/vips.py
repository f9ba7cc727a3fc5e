"""Import pyvips on first use, and configure it for hostile files."""

from __future__ import annotations

import atexit
import functools
import logging
import threading
from typing import Any

#: libvips' loader for each format.
LOADERS = {
    "jpeg": "jpegload_source",
    "png": "pngload_source",
    "tiff": "tiffload_source",
    "webp": "webpload_source",
    "avif": "heifload_source",
}
_GLIB_DOMAINS = (b"GLib", b"GLib-GObject")
_GLIB_CRITICAL_OR_WARNING = 1 << 3 | 1 << 4
_LOADER_CLASSES = ("Jpeg", "Png", "Tiff", "Webp", "Heif")
_SETTING_UP = threading.Lock()


def vips() -> Any:
    """Import pyvips, block all loaders but those of the five formats, and turn its caches off.

    Blocks and caches hold for the whole process. Threads wait for the first call: a file that one opens while another
    blocks the loaders would look damaged.
    """
    with _SETTING_UP:
        return _set_up()


@functools.cache
def _set_up() -> Any:
    # Damaged metadata is worth a warning to libvips, and to nobody who only wants the image.
    logging.getLogger("pyvips").setLevel(logging.CRITICAL + 1)
    import pyvips  # noqa: PLC0415 - here, so that importing pellucid stays fast

    _quieten_glib(pyvips)
    pyvips.operation_block_set("VipsForeignLoad", True)
    for name in _LOADER_CLASSES:
        pyvips.operation_block_set(f"VipsForeignLoad{name}", False)
    # Each file is read once: a cache would only keep its pixels alive.
    pyvips.cache_set_max(0)
    pyvips.cache_set_max_mem(0)
    pyvips.cache_set_max_files(0)
    return pyvips


def _quieten_glib(pyvips: Any) -> None:
    # GLib prints on stderr when a damaged file sets a property out of range. pyvips sends libvips' own messages
    # to its logger, and this sends GLib's after them; a pyvips that no longer has the callback prints again.
    callback = getattr(pyvips, "_log_handler_cb", None)
    if callback is None:
        return
    for domain in _GLIB_DOMAINS:
        handler = pyvips.glib_lib.g_log_set_handler(domain, _GLIB_CRITICAL_OR_WARNING, callback, pyvips.ffi.NULL)
        # The callback is Python, and must not be called when Python has gone.
        atexit.register(pyvips.glib_lib.g_log_remove_handler, domain, handler)
