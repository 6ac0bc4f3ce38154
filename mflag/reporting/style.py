"""The looks of a page: light and dark, desk, phone and paper."""

# Series colours: Okabe and Ito (light), and lighter relatives for a dark page.
LIGHT = {
    "paper": "#ffffff", "ink": "#1c2126", "quiet": "#56606a", "line": "#d9dee3",
    "soft": "#f4f6f8", "accent": "#0a5c99", "note": "#7a4b00", "note-soft": "#fff4dd",
    "s0": "#0072b2", "s1": "#d55e00", "s2": "#009e73", "s3": "#b0548a", "s4": "#8a7a00",
    "s5": "#3f8fc0", "random": "#6f7780", "imagenet": "#8c5a2b",
}  # fmt: skip
DARK = {
    "paper": "#14181c", "ink": "#e6eaee", "quiet": "#a2adb8", "line": "#353d45",
    "soft": "#1d2329", "accent": "#7cc0f4", "note": "#ffd58a", "note-soft": "#33291a",
    "s0": "#56b4e9", "s1": "#f0914a", "s2": "#3cc9a0", "s3": "#e39bc7", "s4": "#e0d05a",
    "s5": "#9fd0f0", "random": "#a5aeb7", "imagenet": "#cf9f6e",
}  # fmt: skip


def _variables(theme: dict[str, str]) -> str:
    return ":root{" + ";".join(f"--{name}:{colour}" for name, colour in theme.items()) + "}"


_RULES = """
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%;scroll-behavior:smooth}
@media(prefers-reduced-motion:reduce){html{scroll-behavior:auto}}
body{margin:0;background:var(--paper);color:var(--ink);
font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
header,.columns,footer{max-width:62.5rem;margin:0 auto;padding:0 1.25rem}
header{padding-top:1.5rem}
main:focus{outline:none}
h1{font-size:1.75rem;line-height:1.2;margin:.6rem 0 .8rem;overflow-wrap:anywhere}
h2{font-size:1.375rem;line-height:1.3;margin:0 0 .6rem;overflow-wrap:anywhere}
h3{font-size:1.1rem;line-height:1.35;margin:1.4rem 0 .4rem;overflow-wrap:anywhere}
h4{font-size:1rem;margin:1.4rem 0 .4rem;overflow-wrap:anywhere}
h5{font-size:.925rem;margin:1.2rem 0 .4rem;overflow-wrap:anywhere}
section{border-top:1px solid var(--line);padding:1.5rem 0 .75rem;
margin-top:1.25rem;scroll-margin-top:.5rem}
section section{border-top:0;padding:.25rem 0 0;margin-top:1rem}
section section>h3{margin-top:0}
p,ul,ol,dl{max-width:44rem;margin:.5rem 0}
p,li,dd,td,summary{overflow-wrap:break-word}
.quiet,caption,figcaption,footer{color:var(--quiet);font-size:.875rem}
.lead{font-size:1.1rem}
.badge,.warning{border-radius:.4rem;color:var(--note);background:var(--note-soft)}
.badge{display:inline-block;margin:0;padding:.2rem .65rem;font-size:.875rem;font-weight:600}
.warning{padding:.5rem .8rem}
.skip{position:absolute;left:-999rem;top:0;padding:.5rem .9rem;background:var(--paper)}
.skip:focus{left:.5rem;top:.5rem;z-index:2}
nav ul{list-style:none;display:flex;flex-wrap:wrap;gap:.25rem 1.1rem;margin:1rem 0 0;padding:0;
max-width:none;font-size:.925rem}
nav a{display:inline-block;padding:.1rem 0}
section nav ul{margin:.6rem 0 .9rem}
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
.words td{text-align:left;white-space:normal;overflow-wrap:break-word;max-width:34rem}
.words th{text-align:left}
small{display:block;color:var(--quiet);font-size:.8rem;font-weight:400;line-height:1.35}
.name{white-space:nowrap}
.key{display:inline-block;width:.7rem;height:.7rem;border-radius:50%;margin-right:.45rem}
.bar{display:block;width:9rem;height:.8rem;background:var(--soft);margin-top:.35rem}
.bar>span{display:block;height:100%;background:var(--s0)}
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
details{margin:.6rem 0}summary{cursor:pointer;color:var(--accent);padding:.15rem 0}
code{font:.875em ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;overflow-wrap:anywhere}
pre{background:var(--soft);border:1px solid var(--line);border-radius:.4rem;
padding:.7rem .9rem;white-space:pre-wrap}
dl{display:grid;grid-template-columns:minmax(7rem,12rem) minmax(0,1fr);gap:.45rem 1.25rem;
max-width:52rem}
dt{font-weight:600}dd{margin:0;overflow-wrap:anywhere}
footer{padding-bottom:2rem;margin-top:1rem}
@media(min-width:80rem){
header,.columns,footer{max-width:78rem}
.columns{display:grid;grid-template-columns:12rem minmax(0,1fr);gap:0 2.5rem}
.columns>nav{position:sticky;top:0;align-self:start;max-height:100vh;overflow-y:auto;
padding:2.5rem 0 1rem}
.columns>nav ul{flex-direction:column;flex-wrap:nowrap;gap:.45rem;margin:0}
.columns>nav a{line-height:1.35}}
@media(max-width:34rem){body{font-size:15px}h1{font-size:1.4rem}h2{font-size:1.25rem}
dl{display:block}dt{margin-top:.6rem}
th,td{padding:.35rem;white-space:normal}table{font-size:.875rem}
small{font-size:.75rem}.key{margin-right:.3rem}.bar{width:4rem}
nav a{padding:.35rem 0}
header,.columns,footer{padding-left:1rem;padding-right:1rem}}
@media print{nav,.skip{display:none}figure,tr{break-inside:avoid}h2,h3,h4{break-after:avoid}
.columns{display:block}.scroll{overflow:visible}
details::details-content{content-visibility:visible;height:auto}}
"""
PAGE_STYLE = (
    f"{_variables(LIGHT)}\n"
    f"@media screen and (prefers-color-scheme:dark){{{_variables(DARK)}}}{_RULES}"
)
