"""A model has as many variables as its Case says: none is lost or added unseen."""

from __future__ import annotations

from tests.cases import Case


def test_variables(distinct: Case) -> None:
    assert len(distinct.create().variables) == distinct.variables
