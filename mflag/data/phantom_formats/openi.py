"""Generated studies as Open-i's Indiana collection: an archive of XML reports and PNG files.

Beside them lies the table of DICOM headers that people use to tell the views.
"""

import gzip
import io
import tarfile
from pathlib import Path
from xml.sax.saxutils import escape

from mflag.data.phantom import Lesion
from mflag.data.phantom_formats.facts import Facts
from mflag.data.phantom_formats.image_files import crop_sides, enlarge, png_bytes
from mflag.data.phantom_formats.report_text import indication, sections
from mflag.data.phantom_formats.tables import write_bytes, write_csv
from mflag.data.phantom_formats.tree import Format, Rows

SIDE = 512
NO_POSITION = 0.1  # a third in the real set
HEADERS_FILE = "nlmcxr_dicom_metadata.csv.gz"
_HEADER_COLUMNS = (
    "imageid,Body Part Examined,Columns,Modality,Patient ID,Patient's Sex,"
    "Photometric Interpretation,Rows,Study Date,View Position,filename"
)
# By finding, or by kind where kinds have headings of their own.
HEADINGS = {
    "Enlarged Cardiomediastinum": "Mediastinum/enlarged",
    "Cardiomegaly": "Cardiomegaly",
    "haze": "Opacity/lung",
    "reticular": "Pulmonary Fibrosis",
    "nodule": "Nodule/lung",
    "mass": "Mass/lung",
    "Edema": "Pulmonary Edema",
    "Consolidation": "Consolidation/lung",
    "Pneumonia": "Pneumonia",
    "Atelectasis": "Pulmonary Atelectasis",
    "Pneumothorax": "Pneumothorax",
    "Pleural Effusion": "Pleural Effusion",
    "Pleural Other": "Thickening/pleura",
    "Fracture": "Fractures, Bone",
    "Support Devices": "Implanted Medical Device",
}
_ZONES = {"upper": "/upper lobe", "middle": "/middle lobe", "lower": "/base"}
_PANEL = """   <parentImage id="{image}">
      <figureId>F{number}</figureId>
      <caption>{caption}</caption>
      <panel type="single">
         <url>/hadoop/storage/radiology/extract/{image}.jpg</url>
         <imgModality>7</imgModality>
      </panel>
   </parentImage>
"""
_REPORT = """<?xml version="1.0" encoding="utf-8"?>
<eCitation>
   <meta type="rr"/>
   <uId id="CXR{report}"/>
   <pmcId id="{report}"/>
   <docSource>CXR</docSource>
   <IUXRId id="{report}"/>
   <articleType>XR</articleType>
   <title>Generated Chest X-ray Collection</title>
   <MedlineCitation Owner="nobody" Status="generated">
      <Article PubModel="Electronic">
         <Abstract>
            <AbstractText Label="COMPARISON">{comparison}</AbstractText>
            <AbstractText Label="INDICATION">{indication}</AbstractText>
            <AbstractText Label="FINDINGS">{findings}</AbstractText>
            <AbstractText Label="IMPRESSION">{impression}</AbstractText>
         </Abstract>
      </Article>
   </MedlineCitation>
   <MeSH>
{mesh}   </MeSH>
{panels}</eCitation>
"""


def report_number(facts: Facts) -> int:
    """The report's number, from 1: one report a patient."""
    return facts.number + 1


def image_names(facts: Facts) -> list[str]:
    """Names of the study's images, without ending: frontal ones first."""
    report = report_number(facts)
    place = f"CXR{report}_{1 + facts.index % 2}_IM-{facts.index % 10000:04}"
    return [f"{place}-{number}001" for number in range(1, len(facts.views) + 1)]


def mesh_headings(lesions: tuple[Lesion, ...]) -> list[str]:
    """Major headings with their qualifiers; ``normal`` when nothing was drawn."""
    headings = []
    for lesion in lesions:
        side = {"midline": "", "both": "/bilateral"}.get(lesion.laterality, f"/{lesion.laterality}")
        name = HEADINGS[lesion.kind if lesion.kind in HEADINGS else lesion.finding]
        zone = _ZONES.get(lesion.zone, "") if name.endswith("/lung") else ""
        severity = "" if lesion.finding == "Support Devices" else f"/{lesion.severity}"
        headings.append(f"{name}{zone}{side}{severity}")
    return list(dict.fromkeys(headings)) or ["normal"]


def _write_study(folder: Path, seed: int, index: int) -> Rows:
    facts = Facts(seed, index)
    names = image_names(facts)
    for name, view in zip(names, facts.views, strict=True):
        pixels = crop_sides(enlarge(view.image, SIDE), (0, 12, 24)[index % 3])
        write_bytes(folder / "NLMCXR_png" / f"{name}.png", png_bytes(pixels))
    headers = [[name, *_header(facts, name, image)] for image, name in enumerate(names)]
    return {"reports": [[report_number(facts), _report(facts, names)]], "headers": headers}


def stated_view(facts: Facts, image: int) -> str | None:
    """The View Position of an image; None where its header says none."""
    if int(facts.name("position", image), 16) % 1000 < 1000 * NO_POSITION:
        return None
    return {"LATERAL": "LL"}.get(position := facts.views[image].position, position)


def _header(facts: Facts, name: str, image: int) -> list[object]:
    """The image's row of the DICOM headers, without its id."""
    return [
        "CHEST", SIDE, "CR", report_number(facts), facts.sex, "MONOCHROME2", SIDE, facts.date,
        stated_view(facts, image), f"./{name.removeprefix('CXR')}.dcm",
    ]  # fmt: skip


def _report(facts: Facts, names: list[str]) -> str:
    parts = sections(facts.study.text)
    is_pair = any(view.position == "LATERAL" for view in facts.views)
    caption = "Xray Chest PA and Lateral" if is_pair else f"Xray Chest {facts.position}"
    panels = (
        _PANEL.format(image=name, number=number, caption=caption)
        for number, name in enumerate(names, 1)
    )
    mesh = mesh_headings(facts.study.lesions)
    return _REPORT.format(
        report=report_number(facts),
        comparison="None.",
        indication=indication(facts),
        # The real set has no report without headings: what stands without one are findings.
        findings=escape(parts.get("findings", parts.get("body", ""))),
        impression=escape(parts.get("impression", "")),
        mesh="".join(f"      <major>{escape(heading)}</major>\n" for heading in mesh),
        panels="".join(panels),
    )


def _write_tables(folder: Path, rows: Rows) -> None:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for number, text in rows["reports"]:
            content = text.encode()
            entry = tarfile.TarInfo(f"ecgen-radiology/{number}.xml")
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    write_csv(folder / HEADERS_FILE, _HEADER_COLUMNS, rows["headers"])
    write_bytes(folder / "NLMCXR_reports.tgz", gzip.compress(archive.getvalue(), mtime=0))


FORMAT = Format(_write_study, _write_tables, one_study_a_patient=True)
