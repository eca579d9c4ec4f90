"""Graphics cards that Linux knows of, whoever made them, so that a report can say: seen, not used."""

from __future__ import annotations

from pathlib import Path

from dspark_local.hardware.facts import Gpu, Vendor

_VENDORS: dict[str, tuple[Vendor, str]] = {
    "0x10de": ("nvidia", "NVIDIA graphics card"),
    "0x1002": ("amd", "AMD graphics"),
    "0x8086": ("intel", "Intel graphics"),
}


def read_display_cards(root: Path = Path("/")) -> tuple[Gpu, ...]:
    """One Gpu a card under /sys/class/drm; its memory is 0 where the driver does not tell. Virtual cards are left out.

    capability is None throughout: that it exists does not say that torch can compute on it.
    """
    gpus = []
    for folder in sorted(root.glob("sys/class/drm/card[0-9]*")):
        if not folder.name.removeprefix("card").isdigit():  # card0-HDMI-A-1 is a socket of card0
            continue
        known = _VENDORS.get(_text(folder / "device/vendor"))
        if known is None:
            continue
        total = _number(folder / "device/mem_info_vram_total")
        used = _number(folder / "device/mem_info_vram_used")
        device = _text(folder / "device/device")
        gpus.append(
            Gpu(
                name=f"{known[1]} {device}".strip(),
                vendor=known[0],
                capability=None,
                vram_bytes=total,
                free_vram_bytes=max(0, total - used),
            )
        )
    return tuple(gpus)


def _number(path: Path) -> int:
    text = _text(path)
    return int(text) if text.isdigit() else 0


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""
