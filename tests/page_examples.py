"""Runs the examples of Markdown pages: ``python tests/page_examples.py PAGE.md ...`` (see test_docs.py).

Blocks marked ``python`` are executed, blocks marked ``pycon`` are executed and their output compared, in
order, in one namespace a page.
"""

from __future__ import annotations

import doctest
import re
import sys
import textwrap
from pathlib import Path

BLOCK = re.compile(r"^( *)```(python|pycon)\n(.*?)^\1```$", re.DOTALL | re.MULTILINE)
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def run_page(page: Path) -> int:
    """Run a page's examples; return how many failed."""
    text = page.read_text(encoding="utf-8")
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    names: dict[str, object] = {"__name__": page.stem}
    for block in BLOCK.finditer(text):
        line, code = text.count("\n", 0, block.start(3)), textwrap.dedent(block[3])
        if block[2] == "python":
            exec(compile("\n" * line + code, page.name, "exec"), names)
            continue
        test = doctest.DocTestParser().get_doctest(code, names, page.name, str(page), line)
        test.globs = names  # later blocks go on with what this one defined
        runner.run(test, clear_globs=False)
    return runner.failures


if __name__ == "__main__":
    raise SystemExit(bool(sum([run_page(Path(argument)) for argument in sys.argv[1:]])))
