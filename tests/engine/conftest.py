"""What tests of engines share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from gates import Gate


@pytest.fixture
def gate() -> Iterator[Gate]:
    made = Gate()
    yield made
    made.let()
