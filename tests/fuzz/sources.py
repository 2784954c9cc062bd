"""Problem files that are broken: by hand, by truncation, by exchanged tokens, by stray bytes."""

from __future__ import annotations

import io
import random
import tokenize
from collections.abc import Iterator

VALID = '''\
"""A problem with a module of its own."""

import numpy as np

import actionopt as ao

POINTS = {"origin": [0.0] * 11, "ones": np.ones(11)}


class Gain(ao.Module):
    in_size, out_size, weight_size = 2, 2, 4

    def forward(self, ops, w, z):
        a, b = ops.unpack(w, (2,), (2,))
        return a * ops.tanh(b * z)


def build(width=2, activation="tanh", mass=0.1):
    inputs = np.linspace(-1.0, 1.0, 6).reshape(3, 2)
    targets = np.array([[0.5], [-0.5], [0.25]])
    layers = [Gain(), ao.Dense(2, width, activation, bias=False), ao.Dense(width, 1)]
    return ao.Problem(layers, inputs, targets, ao.SquaredError(), mass=mass, name="fuzz")
'''

LINEAR = "ao.Problem(ao.Dense(2, 1), {inputs}, {targets}, {loss}{options})"
GOOD = {"inputs": "np.ones((3, 2))", "targets": "np.ones((3, 1))", "loss": "ao.SquaredError()", "options": ""}


def returning(expression: str) -> str:
    """A file whose build returns this."""
    return f"import numpy as np\nimport actionopt as ao\n\n\ndef build():\n    return {expression}\n"


def linear(**parts: str) -> str:
    """A file with a linear layer, one part of it exchanged."""
    return returning(LINEAR.format(**{**GOOD, **parts}))


def module(body: str, sizes: str = "in_size, out_size, weight_size = 2, 1, 1") -> str:
    """A file with a module of its own."""
    problem = "ao.Problem(Mine(), np.ones((3, 2)), np.ones((3, 1)), ao.SquaredError())"
    own = f"\n\nclass Mine(ao.Module):\n    {sizes}\n\n    def forward(self, ops, w, z):\n        {body}\n\n\ndef build"
    return returning(problem).replace("\n\ndef build", own)


RAISED = [
    "ValueError('no')", "KeyError('k')", "ZeroDivisionError()", "RecursionError()", "MemoryError()",
    "SystemExit(0)", "SystemExit('bye')", "OSError(2, 'gone')", "StopIteration()", "AssertionError()",
    "ImportError('x')", "UnicodeDecodeError('utf8', b'x', 0, 1, 'bad')", "ao.InputError('two\\nlines')",
    "ao.SolverError('stuck')", "ExceptionGroup('several', [ValueError('a'), TypeError('b')])",
]  # fmt: skip
RETURNED = [
    "None", "3", "'text'", "[]", "{}", "np.zeros(3)", "ao", "ao.Problem", "ao.Dense(2, 1)", "build", "...",
    "iter([])", "object()", "type('Odd', (), {'size': 3})()", "type('Odd', (), {'size': 'x'})",
]  # fmt: skip
ARRAYS = [
    "None", "3.0", "'text'", "[]", "[[]]", "[[1.0, 2.0], [3.0]]", "[[1.0, float('nan')]]",
    "[[float('inf'), 1.0]]", "np.ones((3, 5))", "np.ones((0, 2))", "np.ones((3, 2, 1))",
    "np.ones((3, 2)) * 1j", "{'a': 1}", "object()", "np.array([['a', 'b']])", "np.array([None, None])",
    "iter([1, 2])", "ao", "lambda: 0",
]  # fmt: skip
LOSSES = ["None", "'squared'", "ao.SquaredError", "ao.CustomLoss(3)", "ao.CustomLoss(lambda ops, y, t: y[0])", "3"]
OPTIONS = [
    "mass=0", "mass=-1.0", "mass=float('nan')", "mass='a'", "mass=[1.0, 2.0]", "mass=np.zeros(3)", "mass=[]",
    "mass={}", "weight_decay=-1", "weight_decay=float('nan')", "weight_decay='a'", "weight_decay=None",
    "weight_decay=[0.1]", "output_metric='fischer'", "output_metric=3", "output_metric=[]", "unknown=1",
    "mass=1.0, mass=2.0",
]  # fmt: skip
BODIES = [
    "return None", "return 3", "return z", "return w", "return ops.nothing(z)", "raise RuntimeError('x')",
    "return z[0]", "return ops.unpack(w, (7,)) * z", "return z.reshape(-1)", "return 'a'", "return undefined",
    "return ops.matmul(z, z)", "return [z]", "import nowhere", "return ops.columns(z)",
    "return ops.split(z, [1, 5])", "return z @ w", "pass",
]  # fmt: skip
SIZES = [
    "in_size, out_size = 2, 1", "in_size, out_size, weight_size = 2, 1, -1",
    "in_size, out_size, weight_size = 2, 1, 1.5", "in_size, out_size, weight_size = 'a', 1, 1",
    "in_size, out_size, weight_size = None, None, None", "in_size, out_size, weight_size = 3, 1, 1",
    "in_size, out_size, weight_size = 2, 1, True",
]  # fmt: skip
LAYERS = [
    "ao.Problem([], [1.0], [1.0], ao.SquaredError())", "ao.Problem(None, [1.0], [1.0], ao.SquaredError())",
    "ao.Problem([3], [1.0], [1.0], ao.SquaredError())", "ao.Dense(-1, 2)", "ao.Dense(1.5, 2)", "ao.Dense(2)",
    "ao.Chain()", "ao.Dense(1, 2, 'tahn')", "ao.Dense(1, 2, 3)", "ao.Residual(ao.Dense(1, 2))",
    "ao.Residual(3)", "ao.Parallel()", "ao.Chain(ao.Dense(1, 2), ao.Dense(1, 2))", "ao.Activation(2, 'none')",
    "ao.Parameter(-1)", "ao.Parameter('a')",
    "ao.Problem(ao.Parameter(2), np.ones((3, 2)), None, ao.SquaredError())",
    "ao.Lagrangian(0, lambda ops, w, v: w)", "ao.Lagrangian(2, 3)", "ao.Lagrangian('a', lambda ops, w, v: w)",
    "ao.Drift(2, 3)", "ao.Drift(2, abs, metric=-1.0)",
    "ao.Problem(ao.Dense(2, 3), np.ones((3, 2)), [0, 1, 7], ao.SoftmaxCrossEntropy())",
    "ao.Problem(ao.Dense(2, 3), np.ones((3, 2)), ['a', 'b', 'b'], ao.SoftmaxCrossEntropy())",
    "ao.Problem(ao.Dense(2, 1), np.ones((3, 2)), [[2.0]] * 3, ao.Logistic())",
]  # fmt: skip
FILES = [
    "", "\n", "#", "build = 3\n", "build = None\n", "class build: pass\n", "def build(a): pass\n",
    "def build(*, a): pass\n", "def build():\n", "def build(:\n", "import nowhere_to_be_found\n",
    "from actionopt import Nothing\n", "raise SystemExit", "import sys\nsys.exit(0)\n", "exit(3)\n",
    "1 / 0\n", "def build():\n\treturn 1\n        return 2\n", "\ufeffbuild", "é = (",
    "# -*- coding: nonsense -*-\n", "print('hello'\n", "def f(): f()\nf()\nbuild = f\n",
    "def f(): return f()\nbuild = f\n", "assert False\n", "async def build(): pass\n",
    "def build(): yield 1\n", "build = lambda: build\n", "return 3\n", "from __future__ import nothing\n",
    "import actionopt.nothing\n", "x = '''\n", "\x00", "\x0c", "{", "(",
]  # fmt: skip


def by_hand() -> Iterator[str]:
    """Files that every reader would call broken."""
    for raised in RAISED:
        yield f"import actionopt as ao\nraise {raised}\n"
        yield f"import actionopt as ao\n\n\ndef build():\n    raise {raised}\n"
    yield from map(returning, [*RETURNED, *LAYERS])
    for values in ARRAYS:
        yield linear(inputs=values)
        yield linear(targets=values)
    yield from (linear(loss=loss) for loss in LOSSES)
    yield from (linear(options=f", {option}") for option in OPTIONS)
    yield from map(module, BODIES)
    yield from (module("return z", sizes) for sizes in SIZES)
    yield from FILES


def truncated(step: int) -> Iterator[str]:
    """The valid file, cut before its return."""
    yield from (VALID[:length] for length in range(0, VALID.rindex("return"), step))


TOKENS = [
    "None", "0", "-1", "1e400", "'x'", "[]", "()", "{}", "nan", "lambda", "(", ")", "...", "ao", "np", "self",
    "**", ":", "\n", "0.5", "True", "import", "build", "@", "=", "w", "z", "3", "b''", "1j", "not", "raise",
    "return", "*", ",", "\\", "'",
]  # fmt: skip


def exchanged(count: int, seed: int) -> Iterator[str]:
    """The valid file with one or two tokens replaced, removed or doubled; a few stay valid."""
    rng = random.Random(seed)
    tokens = [token for token in tokenize.generate_tokens(io.StringIO(VALID).readline) if token.string.strip()]
    lines = VALID.splitlines(keepends=True)
    for _ in range(count):
        changed = lines.copy()
        for token in rng.sample(tokens, rng.choice((1, 1, 2))):
            row, start, stop = token.start[0] - 1, token.start[1], token.end[1]
            if token.end[0] != token.start[0] or changed[row] != lines[row]:
                continue
            new = rng.choice((rng.choice(TOKENS), rng.choice(TOKENS), "", f"{token.string} {token.string}"))
            changed[row] = lines[row][:start] + new + lines[row][stop:]
        yield "".join(changed)


def stray_bytes(count: int, seed: int) -> Iterator[bytes]:
    """The valid file with bytes that no editor writes; and no Python at all."""
    rng = random.Random(seed)
    whole = VALID.encode()
    for _ in range(count):
        place = rng.randrange(len(whole))
        yield whole[:place] + rng.choice((b"\x00", b"\xff", b"\xfe\xff", b"\xc3", b"\x80\x81")) + whole[place:]
        yield rng.randbytes(rng.randrange(1, 200))
