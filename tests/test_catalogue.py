"""Every fault of the catalogue, and every case that befell others, is injected by a test that carries its id.

python -m tests.test_catalogue         # the ids that no test carries yet, and how many tests each other one has
"""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

TESTS = Path(__file__).resolve().parent
LAST = {"W": 28, "R": 19, "P": 19, "X": 24, "C": 8, "S": 22}  # sockets, REST, phone, process, configuration, security
CASES = 51
RELATIVES = (*range(1, 8), *range(9, 18))  # of the scalper; the eighth is of commands over HTTP
CONDORS, TRAPS = 32, 14  # what befell others' condors; what the library for TWS makes of what it is told
LATER = ("C21", "C23", "C25", "C27", "C29", "C32")  # of parts of the condor that are not on yet
CATALOGUE = [
    *(f"{row}{number:02}" for row, last in LAST.items() for number in range(1, last + 1)),
    *(f"A{n}" for n in range(1, CASES + 1)),
    *(name for n in range(1, CONDORS + 1) if (name := f"C{n}") not in LATER),
    *(f"T{n}" for n in range(1, TRAPS + 1)),
    *(f"B{n}" for n in RELATIVES),
]


def carried() -> Counter[str]:
    """How many marks `fault("...")` of the tests name each id."""
    found: Counter[str] = Counter()
    for file in TESTS.rglob("test_*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.fault":
                found.update(ast.literal_eval(argument) for argument in node.args)
    return found


def missing() -> list[str]:
    found = carried()
    return [name for name in CATALOGUE if name not in found]


def test_every_id_of_the_catalogue_has_a_test() -> None:
    assert missing() == []


def test_no_test_carries_an_id_that_is_not_in_the_catalogue() -> None:
    assert sorted(set(carried()) - set(CATALOGUE)) == []


if __name__ == "__main__":
    print("without a test:", " ".join(missing()) or "none", flush=True)
    print("with tests:", " ".join(f"{name}×{count}" for name, count in sorted(carried().items())))
