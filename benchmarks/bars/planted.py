"""The bar on the tests' teeth: twelve planted bugs, each of which must turn at least one named test red.

The bugs are those of tests/planted_bugs.py, a pytest plugin: the product has no switch for them. The same tests are green without the bug,
and red with it for the reason that the bug gives: pytest's text has to say so.
"""

import re
import sys

from harness import ROOT, Outcome, bar, say
from named_tests import FAILED, PASSED, run

sys.path.insert(0, str(ROOT / "tests"))


@bar("planted-bugs", 0, "bugs not found")
def planted_bugs() -> Outcome:
    """Twelve bugs in orders, feeds, journal and recovery: each turns a named test red that is green without it."""
    from planted_bugs import BUGS, VARIABLE

    green, _ = run(sorted({name for bug in BUGS.values() for name in bug.tests}))
    found, missed = {}, {}
    for name, bug in BUGS.items():
        results, text = run(
            bug.tests,
            "-p",
            "planted_bugs",
            "--tb=short",
            PYTHONPATH=f"{ROOT / 'src'}:{ROOT / 'tests'}",
            **{VARIABLE: name},
        )
        met = re.search(rf"planted {re.escape(name)}: met (\d+) times", text)
        red = [test for test in bug.tests if results[test] == FAILED and green[test] == PASSED]
        because = any(line.startswith("E") and bug.because in line for line in text.splitlines())
        say(f"{name}: met {met[1] if met else '?'} times, red: {red}, as expected: {because}")
        if red and because and met and int(met[1]):
            found[name] = red
        else:
            without = {test: green[test] for test in bug.tests}
            missed[name] = results | {"without it": without, "said what was expected": because}
    return Outcome(len(missed), ok=not missed, detail={"bugs": len(BUGS), "found": found, "missed": missed})
