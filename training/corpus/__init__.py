"""Corpus of the bundled model: problems made, solved and checked by code."""
