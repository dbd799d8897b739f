"""Endings of the names of tables, in lower case."""

from __future__ import annotations

__all__ = ["DELIMITERS", "JSON_ENDINGS", "PARQUET_ENDINGS", "TABLE_ENDINGS"]

DELIMITERS = {".csv": ",", ".tsv": "\t"}
"""Characters between the cells of text tables, by ending."""

JSON_ENDINGS = (".jsonl", ".ndjson", ".json")

PARQUET_ENDINGS = (".parquet", ".pq")

TABLE_ENDINGS = ", ".join((*DELIMITERS, *JSON_ENDINGS, *PARQUET_ENDINGS))
"""All endings, for messages and help."""
