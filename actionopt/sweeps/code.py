"""A digest of a user's function: of its code, of what it is bound to, and of the functions beside it that it calls.

Comments and positions do not count. Followed are functions and plain values of the same top-level package or script;
libraries are taken to stay what they are.
"""

from __future__ import annotations

import functools
import hashlib
import types
from collections.abc import Iterator
from typing import Any

import numpy as np

Seen = dict[int, Any]  # by identity; it keeps them, so that no other one gets their identity
PLAIN = (type(None), bool, int, float, complex, str, bytes)


def code_digest(function: Any) -> str:
    """Digest a function, a `functools.partial` of one, a bound method or an object that is called."""
    digest = hashlib.sha256()
    for part in _parts(function, {}):
        digest.update(part.encode() if isinstance(part, str) else part)
        digest.update(b"\0")
    return digest.hexdigest()


def _parts(value: Any, seen: Seen) -> Iterator[str | bytes]:
    """List what a value is made of; each function and object once."""
    if isinstance(value, PLAIN):
        yield repr(value)
    elif isinstance(value, np.ndarray):
        yield f"{value.dtype} {value.shape}"
        yield value.tobytes() if value.dtype != object else repr(value)
    elif id(value) in seen:
        return
    else:
        seen[id(value)] = value
        yield type(value).__qualname__
        yield from _inside(value, seen)


def _inside(value: Any, seen: Seen) -> Iterator[str | bytes]:
    if isinstance(value, (tuple, list)):
        for entry in value:
            yield from _parts(entry, seen)
    elif isinstance(value, (dict, types.MappingProxyType)):
        for key in sorted(value, key=repr):
            yield from (*_parts(key, seen), *_parts(value[key], seen))
    elif isinstance(value, (set, frozenset)):
        yield from sorted(map(repr, value))
    elif isinstance(value, functools.partial):
        yield from _parts((value.func, value.args, value.keywords), seen)
    elif isinstance(value, types.MethodType):
        yield from _parts((value.__func__, value.__self__), seen)
    elif isinstance(value, types.FunctionType):
        yield from _function(value, seen)
    elif isinstance(value, types.CodeType):
        yield from _code(value, seen)
    elif isinstance(value, (types.ModuleType, types.BuiltinFunctionType)):
        yield getattr(value, "__name__", "")
    elif isinstance(value, type):
        yield f"{value.__module__}.{value.__qualname__}"
        yield from _parts({name: entry for name, entry in vars(value).items() if callable(entry)}, seen)
    else:  # an object: its class and what it holds
        yield from _parts((type(value), getattr(value, "__dict__", {})), seen)


def _function(function: types.FunctionType, seen: Seen) -> Iterator[str | bytes]:
    yield from _parts((function.__code__, function.__defaults__, function.__kwdefaults__), seen)
    for cell in function.__closure__ or ():
        try:
            yield from _parts(cell.cell_contents, seen)
        except ValueError:  # not filled yet
            continue
    for name in sorted(_names(function.__code__)):
        if name in function.__globals__ and _beside(function, function.__globals__[name]):
            yield name
            yield from _parts(function.__globals__[name], seen)


def _code(code: types.CodeType, seen: Seen) -> Iterator[str | bytes]:
    yield code.co_code
    yield from (repr(code.co_names), repr(code.co_varnames), repr(code.co_freevars))
    for constant in code.co_consts:
        yield from _parts(constant, seen)


def _names(code: types.CodeType) -> set[str]:
    """List the global names that a function and those inside it may use."""
    inside = [_names(constant) for constant in code.co_consts if isinstance(constant, types.CodeType)]
    return set(code.co_names).union(*inside)


def _beside(function: types.FunctionType, value: Any) -> bool:
    """Whether a global belongs to whoever wrote the function: a plain value, or one of the same package."""
    if isinstance(value, (*PLAIN, tuple, list, dict, set, frozenset, np.ndarray)):
        return True
    if not isinstance(value, (types.FunctionType, type, functools.partial)):
        return False
    written = getattr(value, "__module__", None) or ""
    return written.partition(".")[0] == (function.__module__ or "").partition(".")[0]
