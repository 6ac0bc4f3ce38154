"""What the section headers of MIMIC-CXR reports mean.

Source: MIT-LCP/mimic-cxr, txt/section_parser.py, the rules that every published preparation of
MIMIC-CXR uses. Names and numbers are theirs, spelling mistakes of the reports included.
"""

_HEADERS = {
    "preamble": ("preamble",),
    "impression": (
        "impression", "conclusion", "findings and impression", "findings/impression",
        "findings/ impression", "impresson", "imprression", "imoression", "impressoin", "imprssion",
        "impresion", "imperssion", "mpression", "impession",
        "ndication",  # a lost "I" of indication in truth; kept, or our texts would differ
    ),
    "findings": (
        "findings", "finding", "chest, two views", "reference findings", "findins", "findindgs",
        "findgings", "findngs", "findnings", "finidngs",
    ),
    "comparison": (
        "comparison", "comparisons", "reference exam", "comparison exam", "comparison film",
        "comparision", "comparsion", "comparrison", "comparisions",
    ),
    "indication": (
        "indication", "reason for examination", "reason for exam", "clinical indication",
        "idication",
    ),
    "history": ("history", "clinical history", "clinical information", "patient history", "pfi"),
    "examination": ("examination", "exam", "type of examination"),
    "technique": ("technique",),
    "recommendations": ("recommendations", "recommendation(s)", "recommendation"),
    "notification": ("notification",),
    "addendum": ("addendum",),
    "wet read": ("wet read", "wetread"),
    "comment": ("comment",),
    "date": ("date",),
}  # fmt: skip
SECTION_OF_HEADER = {header: name for name, headers in _HEADERS.items() for header in headers}
# A header that is none of these but contains one of the next words is that section ...
CONTAINED_NAMES = ("impression", "findings", "history", "comparison", "addendum")
# ... and one that names a view stands above findings: "PORTABLE UPRIGHT CHEST:".
VIEW_PHRASES = (
    "chest", "portable", "pa and lateral", "lateral and pa", "ap and lateral", "lateral and ap",
    "frontal and", "two views", "frontal view", "pa view", "ap view", "one view", "lateral view",
    "bone window", "frontal upright", "frontal semi-upright", "ribs", "pa and lat",
)  # fmt: skip
PREAMBLE, FULL_REPORT, LAST_PARAGRAPH = "preamble", "full report", "last_paragraph"
SECTION_NAMES = (*_HEADERS, FULL_REPORT, LAST_PARAGRAPH)

# Studies whose conclusion stands under a header that says otherwise: study id to section.
MISPLACED = {
    "50913680": "recommendations", "59363654": "examination", "59279892": "technique",
    "59768032": "recommendations", "57936451": "indication", "50058765": "indication",
    "53356173": "examination", "53202765": "technique", "50808053": "technique",
    "51966317": "indication", "50743547": "examination", "56451190": "note",
    "59067458": "recommendations", "59215320": "examination", "55124749": "indication",
    "54365831": "indication", "59087630": "recommendations", "58157373": "recommendations",
    "56482935": "recommendations", "58375018": "recommendations", "54654948": "indication",
    "55157853": "examination", "51491012": "history",
}  # fmt: skip
# Studies without usable headers: study id to the characters that hold the conclusion; (0, 0) none.
SLICES = {
    "50525523": (201, 349), "57564132": (233, 554), "59982525": (313, 717), "53488209": (149, 475),
    "54875119": (234, 988), "50196495": (59, 399), "56579911": (59, 218), "52648681": (292, 631),
    "59889364": (172, 453), "53514462": (73, 377), "59505494": (59, 450), "53182247": (59, 412),
    "51410602": (47, 320), "56412866": (522, 822), "54986978": (59, 306), "59003148": (262, 505),
    "57150433": (61, 394), "56760320": (219, 457), "59562049": (158, 348), "52674888": (145, 296),
    "55258338": (192, 568), "59330497": (140, 655), "52119491": (179, 454), "58235663": (0, 0),
    "50798377": (0, 0), "54168089": (0, 0), "53071062": (0, 0), "56724958": (0, 0),
    "54231141": (0, 0), "53607029": (0, 0), "52035334": (0, 0),
}  # fmt: skip
