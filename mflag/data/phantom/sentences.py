"""The wording of generated reports: sentences around the findings, denials, headers."""

# {np} is the noun phrase with its article, {Np} capitalised without; {is} is "is" or "are".
CERTAIN = (
    "There {is} {np}.",
    "{Np} {is} present.",
    "{Np} {is} seen.",
    "{Np} {is} noted.",
    "{Np}.",
    "The image shows {np}.",
    "Findings are consistent with {np}.",
)
UNCERTAIN = (
    "There may be {np}.",
    "Findings may represent {np}.",
    "Possible {bare}.",
    "{Np} cannot be excluded.",
    "Cannot exclude {np}.",
    "{Np} {is} suspected.",
    "Appearances suggest {np}.",
    "Probable {bare}.",
)
CHANGED = {
    "new": ("new from the prior study", "not seen previously", "new since the last examination"),
    "more": ("increased from prior", "worse than before", "progressed since the prior study"),
    "less": ("decreased from prior", "improved since the prior study", "partly resolved"),
    "same": ("unchanged from prior", "stable", "similar to the prior study"),
}

DEVICES: dict[str, tuple[str, ...]] = {
    "tracheal_tube": (
        "An endotracheal tube is in place with its tip above the carina.",
        "Endotracheal tube tip projects over the trachea.",
        "The patient is intubated; the tracheal tube ends above the carina.",
    ),
    "central_line": (
        "A {side} central venous catheter ends in the superior vena cava.",
        "{Side} central line tip projects over the SVC.",
        "There is a {side} sided central venous line in standard position.",
    ),
    "pacemaker": (
        "A {side} chest wall pacemaker is present with intact leads.",
        "{Side} sided pacemaker with leads in expected position.",
        "A pacemaker generator projects over the {side} chest.",
    ),
    "chest_tube": (
        "A {side} chest tube is in place.",
        "{Side} thoracostomy tube is noted.",
        "There is a {side} pleural drain.",
    ),
    "gastric_tube": (
        "A nasogastric tube passes below the diaphragm.",
        "Enteric tube courses into the stomach.",
        "The gastric tube tip is below the left hemidiaphragm.",
    ),
}

# Absent findings that are denied by sentences of their own.
NEGATIVE: dict[str, tuple[str, ...]] = {
    "Enlarged Cardiomediastinum": (
        "The mediastinum is not widened.",
        "Mediastinal contours are normal.",
        "The cardiomediastinal silhouette is unremarkable.",
        "The aorta and mediastinum are unremarkable.",
    ),
    "Cardiomegaly": (
        "Heart size is normal.",
        "The cardiac silhouette is not enlarged.",
        "Cardiac silhouette is within normal limits.",
        "No cardiomegaly.",
    ),
    "Fracture": (
        "Osseous structures are intact.",
        "No acute osseous abnormality.",
        "The bones are unremarkable.",
        "No displaced rib fracture.",
        "No acute fracture.",
    ),
    "Support Devices": (
        "No tubes or lines are seen.",
        "No support devices.",
        "There is no indwelling line or tube.",
    ),
}
# Absent findings that are denied together.
DENIED: dict[str, tuple[str, ...]] = {
    "Pleural Effusion": ("pleural effusion", "effusion", "pleural fluid"),
    "Pneumothorax": ("pneumothorax",),
    "Consolidation": ("consolidation", "focal consolidation"),
    "Pneumonia": ("pneumonia", "focal pneumonia"),
    "Lung Opacity": ("airspace opacity", "focal opacity", "focal infiltrate"),
    "Edema": ("pulmonary edema", "edema", "vascular congestion"),
    "Lung Lesion": ("nodule", "suspicious nodule", "pulmonary nodule", "mass", "lung mass"),
    "Atelectasis": ("atelectasis", "volume loss"),
    "Pleural Other": ("pleural thickening", "pleural plaque"),
}
DENIALS = (
    "No {list}.",
    "There is no {list}.",
    "No evidence of {list}.",
    "There is no evidence of {list}.",
    "No {list} is seen.",
    "Negative for {list}.",
)
CLEAR = (
    "The lungs are clear.",
    "Clear lungs.",
    "Lungs are clear bilaterally.",
    "No focal lung abnormality.",
    "Both lungs are well aerated and clear.",
)
ASIDES = (
    "Visualized upper abdomen is unremarkable.",
    "The trachea is midline.",
    "Hilar contours are normal.",
    "No free air under the diaphragm.",
)
NORMAL_IMPRESSIONS = (
    "No acute cardiopulmonary process.",
    "No acute cardiopulmonary abnormality.",
    "Normal chest radiograph.",
    "No acute disease.",
    "Unremarkable chest radiograph.",
    "No evidence of acute cardiopulmonary disease.",
    "Normal chest.",
)
OPENINGS = (
    "Frontal view of the chest.",
    "Single frontal chest radiograph.",
    "Portable chest radiograph.",
    "Frontal chest radiograph was obtained.",
    "Chest, one view.",
)
HEADERS = (
    ("FINDINGS:", "IMPRESSION:"),
    ("Findings:", "Impression:"),
    ("FINDINGS:", "CONCLUSION:"),
    ("Findings:", "Summary:"),
)
