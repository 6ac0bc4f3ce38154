"""Analyses of latents on the page."""

from mflag.analysis.page import lead, method_section, provenance_section, sections
from mflag.analysis.plots import build_plots
from mflag.reporting.markup import join
from mflag.reporting.page import Section, paragraph
from mflag.reporting.parts import nested, slug
from mflag.summary.found import Found
from mflag.summary.wording import dataset_words


def analysis_section(found: Found, others: list[Found], taken: set[str]) -> Section:
    """Return one analysis as a part of the page.

    Args:
        found: the analysis.
        others: all analyses, to see whether its title needs the folder.
        taken: ids that are in use; grows.
    """
    results = found.content
    title = f"Latents, {dataset_words(results['data']['dataset'])}"
    whole = f"{title} ({found.name})" if len(others) > 1 else title
    origin = paragraph(f"From {found.name}/analysis.json.", class_="quiet")
    parts = sections(results, build_plots(results))
    parts += [method_section(results), provenance_section(results)]
    return nested(slug(whole, taken), whole, join(lead(results), origin), parts)
