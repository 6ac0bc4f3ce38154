"""The wording of generated reports: several ways to say each thing."""

# How each finding may be called: {sev} is the severity word, {side} and {zone} the place.
# Lists hold (singular or uncountable, plural for both sides; None where there is no plural).
NOUNS: dict[str, tuple[tuple[str, str | None], ...]] = {
    "cardiomegaly": (
        ("{sev} cardiomegaly", None),
        ("{sev} enlargement of the cardiac silhouette", None),
        ("{sev} cardiac enlargement", None),
        ("{sev}ly enlarged heart", None),
    ),
    "pleural_effusion": (
        ("{sev} {side} pleural effusion", "{sev} bilateral pleural effusions"),
        ("{sev} {side} effusion", "{sev} bilateral effusions"),
        ("{sev} {side} sided pleural effusion", "{sev} pleural effusions on both sides"),
        ("{sev} pleural fluid on the {side}", "{sev} pleural fluid on both sides"),
        ("{sev} effusion with blunting of the {side} costophrenic angle",
         "{sev} effusions with blunting of both costophrenic angles"),
    ),
    "consolidation": (
        ("{sev} {side} {zone} lung consolidation", "{sev} bilateral {zone} lung consolidations"),
        ("{sev} {side} {zone} zone airspace opacity",
         "{sev} bilateral {zone} zone airspace opacities"),
        ("{sev} patchy consolidation in the {side} {zone} lung",
         "{sev} patchy consolidations in the {zone} zones of both lungs"),
        ("{sev} focal opacity in the {side} {zone} lung field",
         "{sev} opacities in both {zone} lung fields"),
        ("{sev} {side} {zone} zone pneumonic infiltrate", "{sev} infiltrates in both {zone} zones"),
    ),
    "nodule": (
        ("{sev} {side} {zone} lung nodule", "{sev} nodules in both {zone} lungs"),
        ("{sev} nodular opacity in the {side} {zone} lung",
         "{sev} bilateral {zone} zone nodular opacities"),
        ("{sev} rounded nodule in the {side} {zone} zone",
         "{sev} rounded nodules in both {zone} zones"),
        ("{sev} pulmonary nodule projecting over the {side} {zone} lung field",
         "{sev} pulmonary nodules projecting over both {zone} lung fields"),
    ),
    "pneumothorax": (
        ("{sev} {side} pneumothorax", None),
        ("{sev} {side} apical pneumothorax", None),
        ("{sev} pneumothorax on the {side}", None),
        ("{sev} {side} pneumothorax with a visible pleural line", None),
    ),
    "atelectasis": (
        ("{sev} {side} {zone} zone atelectasis", "{sev} bilateral {zone} zone atelectasis"),
        ("{sev} linear atelectasis in the {side} {zone} lung",
         "{sev} linear atelectasis in the {zone} zones of both lungs"),
        ("{sev} {side} {zone} subsegmental atelectasis",
         "{sev} bilateral {zone} subsegmental atelectasis"),
        ("{sev} {side} {zone} lung volume loss with plate-like atelectasis",
         "{sev} plate-like atelectasis in both {zone} lungs"),
    ),
    "edema": (
        ("{sev} pulmonary edema", None),
        ("{sev} interstitial edema", None),
        ("{sev} pulmonary vascular congestion with perihilar edema", None),
        ("{sev} bilateral perihilar haze consistent with edema", None),
    ),
}  # fmt: skip

SEVERITY: dict[str, dict[str, tuple[str, ...]]] = {
    "cardiomegaly": {
        "mild": ("mild", "slight"),
        "moderate": ("moderate",),
        "severe": ("severe", "marked"),
    },
    "pleural_effusion": {
        "mild": ("small", "trace", "minimal", "mild"),
        "moderate": ("moderate", "moderate-sized"),
        "severe": ("large", "severe"),
    },
    "pneumothorax": {
        "mild": ("small", "tiny", "minimal"),
        "moderate": ("moderate", "moderate-sized"),
        "severe": ("large", "severe"),
    },
    "nodule": {
        "mild": ("small", "tiny", "subcentimeter"),
        "moderate": ("", "medium-sized", "moderate-sized"),
        "severe": ("large", "prominent"),
    },
}
OTHER_SEVERITY: dict[str, tuple[str, ...]] = {
    "mild": ("mild", "minimal", "slight", "subtle"),
    "moderate": ("moderate", ""),
    "severe": ("severe", "extensive", "marked"),
}

ZONE_WORDS = {
    "upper": ("upper", "upper"),
    "middle": ("mid", "middle"),
    "lower": ("lower", "basal"),
}

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

NEGATIVE: dict[str, tuple[str, ...]] = {
    "cardiomegaly": (
        "Heart size is normal.",
        "The cardiac silhouette is not enlarged.",
        "Cardiac silhouette is within normal limits.",
        "No cardiomegaly.",
    ),
    "support_device": (
        "No tubes or lines are seen.",
        "No support devices.",
        "There is no indwelling line or tube.",
    ),
}
# Absent findings that are denied together.
DENIED: dict[str, tuple[str, ...]] = {
    "pleural_effusion": ("pleural effusion", "effusion", "pleural fluid"),
    "pneumothorax": ("pneumothorax",),
    "consolidation": (
        "consolidation",
        "focal consolidation",
        "airspace opacity",
        "focal infiltrate",
    ),
    "edema": ("pulmonary edema", "edema", "vascular congestion"),
    "nodule": ("nodule", "suspicious nodule", "pulmonary nodule"),
    "atelectasis": ("atelectasis", "volume loss"),
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
    "Osseous structures are intact.",
    "No acute osseous abnormality.",
    "The bones are unremarkable.",
    "Visualized upper abdomen is unremarkable.",
    "The trachea is midline.",
    "Hilar contours are normal.",
    "The aorta is unremarkable.",
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
