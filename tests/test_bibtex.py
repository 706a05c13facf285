"""References as BibTeX."""

from __future__ import annotations

from dataclasses import replace

import pytest

from symloss.catalog import Catalog
from symloss.printers.bibtex import bibtex

LOSSES = Catalog().load()[0]
HUBER = next(loss for loss in LOSSES if loss.name == "huber")


def entry(*references: str) -> str:
    return "\n".join(bibtex(replace(HUBER, references=references)))


@pytest.mark.parametrize(
    ("reference", "lines"),
    [
        (
            "Huber 1964, Robust estimation of a location parameter, doi:10.1214/aoms/1177703732",
            ["@article{huber,", "author = {Huber}", "title = {{Robust estimation of a location parameter}}",
             "year = {1964}", "doi = {10.1214/aoms/1177703732}"],
        ),
        ("Lin et al. 2017, Focal loss, arXiv:1708.02002",
         ["@misc{huber,", "author = {Lin and others}", "eprint = {1708.02002}", "archiveprefix = {arXiv}"]),
        ("Wen, Zhang, Li and Qiao 2016, A title, with commas & signs, doi:10.1/x",
         ["author = {Wen and Zhang and Li and Qiao}", r"title = {{A title, with commas \& signs}}"]),
        ("A book without a year", ["@misc{huber,", "note = {A book without a year}"]),
    ],
)  # fmt: skip
def test_a_reference_becomes_an_entry(reference, lines):
    text = entry(reference)
    assert all(line in text for line in lines) and text.count("{") == text.count("}")


def test_several_references_have_keys_of_their_own():
    text = entry("A 2001, One, doi:10.1/a", "B 2002, Two, doi:10.1/b")
    assert "{huber_1," in text and "{huber_2," in text and entry() == ""


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.name)
def test_every_shipped_reference_is_understood(loss):
    text = "\n".join(bibtex(loss))
    assert "note =" not in text and text.count("author =") == text.count("title =") == len(loss.references)
