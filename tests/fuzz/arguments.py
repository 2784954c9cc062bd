"""Command lines that are broken: by hand for every option of every command, and by chance."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from actionopt.cli import main
from actionopt.cli.plot import load, scripts

Words = list[object]

NOT_A_NUMBER = ["", " ", "x", "1.5.2", "0x", "--", "None", "1e", "٣x", "[1]", "1;2", "\\", "%s", "{}", "💥"]
NOT_A_SETTING = ["", "width", "=", "=3", "2x=3", "wi dth=3", "width:3", "-", "width==", " =", "é-x=1"]
NO_NAME = ["", " ", "nonsense", "3", "None", "[]", "Layerwise", "--", "é", "a,b"]
NOT_POSITIVE = ["0", "-1", "-0.5", "nan", "-inf", "inf", "1e400"]
NO_POINT = ["", "nowhere", "1,2", ",", "1,,2", "a,b", "inf", "[0]", "1e400", "0;0", ",".join(["inf"] * 11)]
# what no command can use, option by option
WRONG = {
    "--metric": NO_NAME,
    "--scheme": NO_NAME,
    "--solver": NO_NAME,
    "--method": NO_NAME,
    "--formulation": NO_NAME,
    "--horizon": NOT_POSITIVE,
    "--tol": NOT_POSITIVE,
    "--steps": ["0", "-1", "-7"],
    "--max-iterations": ["-1"],
    "--seed": ["-1"],
    "--start": NO_POINT,
    "--end": NO_POINT,
    "--through": NO_POINT,
    "--guess": ["", "fly", "nowhere.npz", "valid.py", "3", "."],
}
NOT_AN_OPTION = ["--nonsense", "--", "-q", "--Json", "---", "-", "--set", "--horizon", "--json=1", "-vvv", "--out="]


def options_of(name: str) -> list[click.Option]:
    """The options of a command, or of a figure (`plot NAME`), that take a value."""
    group, _, figure = name.partition(" ")
    command = load(figure, scripts()[figure]).main if figure else main.get_command(click.Context(main), group)
    assert command is not None
    return [p for p in command.params if isinstance(p, click.Option) and not p.is_flag]


def needed(name: str) -> Words:
    """Values for the options that a command requires."""
    values: dict[str, Any] = {"--horizon": 0.1, "--weights": "width=2,3", "--rows": "width=2,3", "--path": "a.npz"}
    return [word for p in options_of(name) if p.required for word in (p.opts[0], values.get(p.opts[0], "out"))]


def by_hand(name: str, path: Path, nowhere: Path) -> Iterator[Words]:
    """Command lines of one command, each with one thing wrong; `path` is a valid file, `nowhere` is not there."""
    good: Words = [*name.split(), path, *needed(name)]
    words = name.split()
    yield words
    yield [*words, *needed(name)]
    yield [*words, path, path, *needed(name)]
    yield [*words[:-1], words[-1] + "x", path, *needed(name)]
    for wrong in (nowhere, nowhere.parent, "", " ", "x" * 5000, f"{path}/x", "~", "*", "-", "--", f"{path}\n"):
        yield [*words, wrong, *needed(name)]
    for wrong in ("--nonsense", "--nonsense=3", "-q", "--Json", "--json=1", "-"):
        yield [*good, wrong]
    for setting in NOT_A_SETTING:
        yield [*good, "--set", setting]
    yield from ([*good, "--set", setting] for setting in wrong_values())
    yield [*good, "--set", "width=1", "--set", "width=2"]
    for option in options_of(name):
        flag = option.opts[0]
        yield [*good, flag]
        yield [*words, path, *without(needed(name), flag)] if option.required else [*good, flag]
        if isinstance(option.type, (click.types.IntParamType, click.types.FloatParamType)):
            yield from ([*good, flag, wrong] for wrong in NOT_A_NUMBER)
        if isinstance(option.type, click.types.IntParamType):
            yield from ([*good, flag, wrong] for wrong in ("1.5", "1e3", "inf", "nan"))
        yield from ([*good, flag, wrong] for wrong in WRONG.get(flag, []))


def without(words: Words, flag: str) -> Words:
    """Leave an option and its value out."""
    place = words.index(flag)
    return words[:place] + words[place + 2 :]


def wrong_values() -> list[str]:
    """Settings that build() of the valid file cannot use."""
    return [
        "widht=3", "build=1", "width=0.5", "width=-1", "width='a'", "width=None", "width=[]", "activation=tahn",
        "activation=3", "activation=[]", "mass=0", "mass=-1", "mass=a", "mass=[1,2]", "mass={}", "mass=1e999",
    ]  # fmt: skip


def by_chance(name: str, path: Path, count: int, seed: int) -> Iterator[Words]:
    """Valid command lines with words removed, doubled, moved or replaced by junk."""
    rng = random.Random(seed)
    junk = [
        *NOT_A_NUMBER,
        *NOT_A_SETTING,
        *NOT_AN_OPTION,
        "0",
        "-1",
        "1e309",
        "nan",
        "-inf",
        "ones",
        "0,0",
        "a.npz",
        "3",
    ]
    for _ in range(count):
        words: Words = [*name.split(), path, *needed(name)]
        for option in rng.sample(options_of(name), k=rng.randrange(3)):
            words += [option.opts[0], rng.choice(junk)]
        for _ in range(rng.randrange(1, 3)):
            place = rng.randrange(1, len(words) + 1)
            words[place : place + rng.randrange(2)] = rng.choice(([], [rng.choice(junk)], [rng.choice(words)]))
        yield words
