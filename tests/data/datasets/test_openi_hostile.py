"""Open-i: XML and archives that are broken or hostile."""

import gzip
import os
import tarfile

import pytest

from mflag.data.datasets import openi
from mflag.data.datasets.openi_reports import (
    BrokenReport,
    parse_report,
    read_files,
)
from mflag.data.preparing import prepare
from mflag.errors import InputError
from tests.data.datasets.openi_tree import BOMB, OpeniTree, config_of, write_archive, xml


@pytest.fixture
def tree(tmp_path):
    return OpeniTree(tmp_path / "openi")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (BOMB, "document type"),
        ('<!DOCTYPE x SYSTEM "file:///etc/passwd"><x/>', "document type"),
        ('<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><x>&e;</x>', "document type"),
        ("<x>&undeclared;</x>", "XML is broken"),
        ("<x>" * 10_000, "nested deeper"),
        ("", "XML is broken"),
        ("no XML", "XML is broken"),
        ("<a/><b/>", "XML is broken"),
        ("\0" * 100, "XML is broken"),
        ('<?xml version="1.0" encoding="nonsense"?><x/>', "XML is broken"),
        ("<x>" + " " * (1 << 20) + "</x>", "larger than 1 MiB"),
        ("<eCitation/>", "without uId"),
        ('<eCitation><uId id="CXR1"/><parentImage/></eCitation>', "parentImage without id"),
    ],
    ids=lambda value: repr(value[:12]),
)
def test_hostile_xml_is_refused_with_a_reason(content, reason):
    with pytest.raises(BrokenReport, match=reason):
        parse_report(content.encode())


def test_a_report_in_latin_1_is_read():
    text = xml(1, findings="Größe").replace("utf-8", "iso-8859-1")
    assert parse_report(text.encode("latin-1")).sections["findings"] == "Größe"


@pytest.mark.parametrize("packed", [True, False], ids=["tgz", "folder"])
def test_a_report_whose_name_is_no_utf_8_is_rejected_by_a_printable_name(tree, packed):
    tree.reports[os.fsdecode(b"caf\xe9.xml")] = "no XML"
    tree.write(packed)
    config = config_of(tree, views=None)
    config.max_reject_fraction = 0.5
    prepared = prepare(config)
    assert "caf\N{REPLACEMENT CHARACTER}.xml" in (prepared.path / "rejected.csv").read_text()


def test_what_an_archive_names_leads_nowhere(tmp_path):
    escape, link, folder = (tarfile.TarInfo(name) for name in ("../../x.xml", "l.xml", "d.xml"))
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    folder.type = tarfile.DIRTYPE
    (tmp_path / "in").mkdir()
    archive = tmp_path / "in" / "NLMCXR_reports.tgz"
    write_archive(archive, {"1.xml": xml(1)}, escape, link, folder)
    assert [name for name, _ in read_files(archive)] == ["1.xml", "x.xml"]
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["NLMCXR_reports.tgz", "in"]


def test_a_member_that_is_too_large_is_cut_and_rejected(tmp_path):
    large = tarfile.TarInfo("2.xml")
    large.size = 3 << 20
    write_archive(tmp_path / "a.tgz", {}, large)
    [(_, content)] = read_files(tmp_path / "a.tgz")
    with pytest.raises(BrokenReport, match="larger than 1 MiB"):
        parse_report(content)


def test_an_archive_that_unpacks_without_end_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("mflag.data.datasets.openi_reports.MAX_ARCHIVE_BYTES", 1 << 20)
    large = tarfile.TarInfo("other.bin")
    large.size = 3 << 20
    write_archive(tmp_path / "a.tgz", {"1.xml": xml(1)}, large)
    with pytest.raises(InputError, match="unpacks to more than 1 GiB"):
        read_files(tmp_path / "a.tgz")


@pytest.mark.parametrize(
    "content", [b"", b"junk", gzip.compress(b"junk" * 300)], ids=["empty", "junk", "gzip"]
)
def test_a_damaged_archive_is_refused(tmp_path, content):
    (tmp_path / "a.tgz").write_bytes(content)
    with pytest.raises(InputError, match="damaged|has no XML file"):
        read_files(tmp_path / "a.tgz")


def test_an_archive_that_was_cut_short_is_refused(tree):
    tree.write()
    path = tree.root / "NLMCXR_reports.tgz"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(InputError, match="is damaged"):
        openi.read(config_of(tree))
