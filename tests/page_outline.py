"""What a page is made of, read by the standard library's parser."""

from html.parser import HTMLParser

VOID = {"meta", "br", "img", "link", "input", "hr", "source"}
HEADINGS = {f"h{level}": level for level in range(1, 7)}
_TEXTLESS = {"script", "style"}


class Outline(HTMLParser):
    """Ids, headings, tables, images, links and requests of a page; every element must close."""

    def __init__(self, page):
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.targets: list[str] = []
        self.images: list[dict] = []
        self.headings: list[list] = []
        self.captions: list[str] = []
        self.loads: list[str] = []
        self.scripts: list[list[str]] = []
        self.regions: list[dict] = []
        self.landmarks: list[tuple] = []
        self.text: list[str] = []
        self.handlers: list[str] = []
        self.tables = self.headers_without_scope = 0
        self.feed(page)
        assert self.open == [], f"never closed: {self.open}"

    def handle_starttag(self, name, attrs):
        attributes = dict(attrs)
        if name not in VOID:
            self.open.append(name)
        self.handlers += [key for key in attributes if key.startswith("on")]
        self.ids += [attributes["id"]] if "id" in attributes else []
        if attributes.get("href", "").startswith("#"):
            self.targets.append(attributes["href"][1:])
        elif name != "a":
            self.loads += [
                attributes[k] for k in ("src", "href", "srcset", "data") if k in attributes
            ]
        if name == "img":
            self.images.append(attributes)
        if name in HEADINGS:
            self.headings.append([HEADINGS[name], ""])
        self.tables += name == "table"
        self.headers_without_scope += name == "th" and "scope" not in attributes
        if name == "caption":
            self.captions.append("")
        if attributes.get("role") == "region":
            self.regions.append(attributes)
        if name in ("header", "nav", "main", "footer"):
            self.landmarks.append((name, attributes.get("aria-label")))
        if name == "script":
            self.scripts.append([attributes.get("type", ""), ""])

    def handle_endtag(self, name):
        assert self.open and self.open.pop() == name, f"</{name}> closes another element"

    def handle_data(self, text):
        if self.open and self.open[-1] == "script":
            self.scripts[-1][1] += text
        if self.open and self.open[-1] in _TEXTLESS:
            return
        self.text.append(text)
        for name in self.open:
            if name in HEADINGS:
                self.headings[-1][1] += text
            if name == "caption":
                self.captions[-1] += text

    @property
    def shown(self):
        """All text that a reader sees."""
        return " ".join(" ".join(self.text).split())
