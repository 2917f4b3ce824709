"""Runs all tests, compares all C code and writes docs/operators.md."""

from __future__ import annotations

import sys

from tests.conformance.cases import relevant_cases
from tests.conformance.check import compare_c, run
from tests.conformance.document import FILE, document


def main() -> None:
    results = {case: run(case) for case in relevant_cases()}
    graphs = [r.integers.graph for r in results.values() if r.integers.graph is not None]
    compare_c(graphs)
    FILE.write_text(document(results, len(graphs)), encoding="utf-8")
    failed = [c.name for c, r in results.items() if "fail" in (r.reals.status, r.integers.status)]
    print(f"{len(results)} tests, {len(graphs)} compiled; failed: {', '.join(failed) or 'none'}")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
