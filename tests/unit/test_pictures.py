"""What docs/ shows of the code is what the code does."""

from __future__ import annotations

from bench.pictures import MAPS, pictures


def test_pictures_are_up_to_date() -> None:
    found = pictures()
    assert len(found) == len(MAPS) + 1
    for path, text in found.items():
        assert path.read_text(encoding="utf-8") == text, "python -m bench.pictures"
