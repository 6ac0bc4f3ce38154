"""The frame of a report: one file, no network, light and dark, desk and phone."""

from collections.abc import Iterable
from dataclasses import dataclass

from mflag.reporting.markup import Markup, html, join, tag

DISCLAIMER = "Research use only. Not a medical device."


@dataclass(frozen=True)
class Section:
    """A part of a page.

    Attributes:
        anchor: its id, for links.
        title: its heading.
        body: what stands below.
        style: CSS rules that the body needs beside the page's, trusted.
        script: JavaScript that the body needs, trusted; it runs once, after the page.
    """

    anchor: str
    title: str
    body: Markup
    style: str = ""
    script: str = ""


def render_page(title: str, lead: Markup, sections: list[Section]) -> str:
    """Return the whole HTML document.

    Args:
        title: heading and name of the browser's tab.
        lead: what a hurried reader must see first.
        sections: in order; each gets an entry in the table of contents.
    """
    links = [tag("a", s.title, href=f"#{s.anchor}") for s in sections]
    contents = tag("nav", *links, aria_label="Contents")
    badge = tag("p", DISCLAIMER, class_="badge", role="note")
    parts = [tag("section", tag("h2", s.title), s.body, id=s.anchor) for s in sections]
    header = tag("header", badge, tag("h1", title), lead, contents)
    footer = tag("footer", tag("p", DISCLAIMER))
    scripts = [f"<script>{code}</script>" for code in _distinct(s.script for s in sections)]
    body = tag("body", header, tag("main", *parts), footer, *map(Markup, scripts))
    style = _STYLE + "".join(_distinct(s.style for s in sections))
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{html(title)}</title><style>{style}</style>"
    )
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>{body}</html>\n'


def _distinct(texts: Iterable[str]) -> list[str]:
    """Each text once, without empty ones."""
    return [text for text in dict.fromkeys(texts) if text]


def paragraph(*content: object, class_: str = "") -> Markup:
    """Return a paragraph."""
    return tag("p", *content, **({"class_": class_} if class_ else {}))


def bullets(items: list[object]) -> Markup:
    """Return a list."""
    return tag("ul", *[tag("li", item) for item in items])


def details(summary: str, *content: object) -> Markup:
    """Return content that opens on a click."""
    return tag("details", tag("summary", summary), *content)


def definitions(pairs: list[tuple[object, object]]) -> Markup:
    """Return names and what they mean."""
    return tag("dl", *[join(tag("dt", name), tag("dd", meaning)) for name, meaning in pairs])


# Series colours: Okabe and Ito (light), and lighter relatives for a dark page.
_STYLE = """
:root{--paper:#fff;--ink:#1c2126;--quiet:#5a646e;--line:#d9dee3;--soft:#f4f6f8;--accent:#0a5c99;
--note:#7a4b00;--note-soft:#fff4dd;
--s0:#0072b2;--s1:#d55e00;--s2:#009e73;--s3:#b0548a;--s4:#8a7a00;--s5:#56a0d0;
--random:#6f7780;--imagenet:#8c5a2b}
@media(prefers-color-scheme:dark){:root{--paper:#14181c;--ink:#e6eaee;--quiet:#a2adb8;--line:#353d45;
--soft:#1d2329;--accent:#7cc0f4;--note:#ffd58a;--note-soft:#33291a;
--s0:#56b4e9;--s1:#f0914a;--s2:#3cc9a0;--s3:#e39bc7;--s4:#e0d05a;--s5:#9fd0f0;
--random:#a5aeb7;--imagenet:#cf9f6e}}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%;scroll-behavior:smooth}
@media(prefers-reduced-motion:reduce){html{scroll-behavior:auto}}
body{margin:0;background:var(--paper);color:var(--ink);
font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
header,main,footer{max-width:60rem;margin:0 auto;padding:0 1.25rem}
header{padding-top:1.5rem}
h1{font-size:1.75rem;line-height:1.2;margin:.6rem 0 .8rem;overflow-wrap:anywhere}
h2{font-size:1.25rem;line-height:1.3;margin:0 0 .6rem}
h3{font-size:1rem;margin:1.4rem 0 .4rem}
section{border-top:1px solid var(--line);padding:1.5rem 0 .75rem;
margin-top:1.25rem;scroll-margin-top:.5rem}
p,ul,dl{max-width:44rem;margin:.5rem 0}
.quiet,caption,figcaption,footer{color:var(--quiet);font-size:.875rem}
.lead{font-size:1.1rem}
.badge{display:inline-block;margin:0;padding:.2rem .65rem;border-radius:.4rem;font-size:.875rem;
font-weight:600;color:var(--note);background:var(--note-soft)}
nav{display:flex;flex-wrap:wrap;gap:.25rem 1.1rem;margin-top:1rem;font-size:.925rem}
a{color:var(--accent)}
nav a{text-decoration:none}nav a:hover{text-decoration:underline}
:focus-visible{outline:2px solid var(--accent);outline-offset:2px}
.scroll{overflow-x:auto;margin:.75rem 0 1rem}
table{border-collapse:collapse;font-size:.925rem;font-variant-numeric:tabular-nums}
caption{text-align:left;padding-bottom:.4rem;max-width:min(44rem,100vw - 2.5rem)}
th,td{padding:.4rem .9rem;border-bottom:1px solid var(--line);
text-align:right;white-space:nowrap;vertical-align:top}
th:first-child{text-align:left;padding-left:.4rem}
thead th{background:var(--soft);border-bottom:2px solid var(--line);vertical-align:bottom}
tbody th{font-weight:600}
small{display:block;color:var(--quiet);font-size:.8rem;font-weight:400;line-height:1.35}
.name{white-space:nowrap}
.key{display:inline-block;width:.7rem;height:.7rem;border-radius:50%;margin-right:.45rem}
figure{margin:1rem 0}
figure.plot{max-width:32rem}
.pair{display:flex;flex-wrap:wrap;gap:0 2.5rem;align-items:flex-start}
.pair>.scroll{max-width:100%}
.pair>figure,.pair>div:not(.scroll){flex:1 1 20rem;min-width:0;max-width:32rem}
.pair caption{max-width:min(27rem,100vw - 2.5rem)}
figure.plot svg{width:100%;height:auto;display:block}
.gallery{display:grid;grid-template-columns:repeat(auto-fit,minmax(9.5rem,1fr));gap:1rem}
.gallery figure{margin:0}
.gallery img{width:100%;height:auto;border-radius:.4rem;display:block;background:#000}
.gallery figcaption{margin-top:.4rem;overflow-wrap:anywhere}
details{margin:.6rem 0}summary{cursor:pointer;color:var(--accent)}
code{font:.875em ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;overflow-wrap:anywhere}
pre{background:var(--soft);border:1px solid var(--line);border-radius:.4rem;
padding:.7rem .9rem;white-space:pre-wrap}
dt{font-weight:600;margin-top:.6rem}dd{margin:0}
footer{padding-bottom:2rem;margin-top:1rem}
@media(max-width:34rem){body{font-size:15px}h1{font-size:1.4rem}
th,td{padding:.35rem;white-space:normal}table{font-size:.875rem}
small{font-size:.7rem}.key{margin-right:.3rem}
header,main,footer{padding-left:1rem;padding-right:1rem}}
@media print{nav{display:none}section{break-inside:avoid}}
"""
