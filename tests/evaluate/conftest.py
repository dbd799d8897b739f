from __future__ import annotations

import pytest

from tests.support.bursts import Bursts


@pytest.fixture(scope="session")
def bursts(tmp_path_factory: pytest.TempPathFactory) -> Bursts:
    return Bursts.write(tmp_path_factory.mktemp("bursts"))
