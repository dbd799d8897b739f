"""Promises of the documents about their blocks, one module per page or group of pages.

``tests/test_documented_blocks.py`` runs the blocks and checks these promises; ``tests/support/documented_case.py``
describes how a promise is written.
"""

import pytest

MODULES = ("arguments", "frameworks", "motion_index", "recipes", "start_pages", "tables", "transforms")

# A failed assertion then shows the values that it has compared.
pytest.register_assert_rewrite(*(f"{__name__}.{module}" for module in MODULES))
