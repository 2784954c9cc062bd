"""The oldest versions that setup.cfg admits are the ones that are tested."""

from __future__ import annotations

import re
from configparser import ConfigParser
from pathlib import Path

ROOT = Path(__file__).parents[1]


def floors(section: str) -> dict[str, str]:
    return dict(re.findall(r"^([\w-]+) >= ([\d.]+)", section, re.MULTILINE))


def test_floors_are_tested() -> None:
    config = ConfigParser()
    config.read(ROOT / "setup.cfg")
    required = floors(config["options"]["install_requires"]) | floors(config["options.extras_require"]["test"])
    pinned = dict(re.findall(r"^([\w-]+)==([\d.]+)", (ROOT / ".ci" / "oldest.txt").read_text(), re.MULTILINE))
    assert {"numpy", "scipy", "casadi", "matplotlib", "click", "tqdm"} <= set(required) <= set(pinned)
    for name, floor in required.items():
        assert pinned[name].startswith(floor), f"{name}: setup.cfg admits {floor}, tests use {pinned[name]}"
