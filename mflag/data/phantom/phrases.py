"""The wording of generated reports: how findings and their places are called."""

# How each finding, or a kind of it, may be called: {sev} is the severity word, {side} and {zone}
# the place, {size} the diameter.
# Lists hold (singular or uncountable, plural for both sides; None where there is no plural).
NOUNS: dict[str, tuple[tuple[str, str | None], ...]] = {
    "Enlarged Cardiomediastinum": (
        ("{sev} mediastinal widening", None),
        ("{sev} widening of the mediastinum", None),
        ("{sev}ly widened mediastinum", None),
        ("{sev} enlargement of the cardiomediastinal silhouette", None),
        ("{sev} prominence of the mediastinal contour", None),
    ),
    "Cardiomegaly": (
        ("{sev} cardiomegaly", None),
        ("{sev} enlargement of the cardiac silhouette", None),
        ("{sev} cardiac enlargement", None),
        ("{sev}ly enlarged heart", None),
    ),
    "haze": (
        ("{sev} {side} {zone} lung opacity", "{sev} bilateral {zone} lung opacities"),
        ("{sev} hazy opacity in the {side} {zone} lung",
         "{sev} hazy opacities in both {zone} lungs"),
        ("{sev} {side} {zone} zone airspace opacity",
         "{sev} bilateral {zone} zone airspace opacities"),
        ("{sev} ground-glass opacity in the {side} {zone} zone",
         "{sev} ground-glass opacities in both {zone} zones"),
        ("{sev} focal opacity in the {side} {zone} lung field",
         "{sev} opacities in both {zone} lung fields"),
        ("{sev} ill-defined {side} {zone} lung infiltrate",
         "{sev} ill-defined infiltrates in both {zone} lungs"),
    ),
    "reticular": (
        ("{sev} reticular opacity in the {side} {zone} lung",
         "{sev} reticular opacities in both {zone} lungs"),
        ("{sev} {side} {zone} lung parenchymal scarring",
         "{sev} bilateral {zone} lung parenchymal scarring"),
        ("{sev} reticular scarring in the {side} {zone} zone",
         "{sev} reticular scarring in both {zone} zones"),
        ("{sev} interstitial opacity of the {side} {zone} lung",
         "{sev} interstitial opacities of both {zone} lungs"),
    ),
    "nodule": (
        ("{sev} {side} {zone} lung nodule", "{sev} nodules in both {zone} lungs"),
        ("{sev} nodular opacity in the {side} {zone} lung",
         "{sev} bilateral {zone} zone nodular opacities"),
        ("{sev} rounded nodule in the {side} {zone} zone",
         "{sev} rounded nodules in both {zone} zones"),
        ("{sev} pulmonary nodule projecting over the {side} {zone} lung field",
         "{sev} pulmonary nodules projecting over both {zone} lung fields"),
        ("{size} cm nodule in the {side} {zone} lung", "{sev} nodules in both {zone} lungs"),
    ),
    "mass": (
        ("{sev} {side} {zone} lung mass", "{sev} masses in both {zone} lungs"),
        ("{sev} lobulated mass in the {side} {zone} zone",
         "{sev} lobulated masses in both {zone} zones"),
        ("{sev} mass projecting over the {side} {zone} lung field",
         "{sev} masses projecting over both {zone} lung fields"),
        ("{size} cm mass in the {side} {zone} lung", "{sev} masses in both {zone} lungs"),
        ("{size} cm {side} {zone} lung mass concerning for malignancy",
         "{sev} masses in both {zone} lungs concerning for malignancy"),
    ),
    "nodule and mass": (
        ("", "{sev} lung lesions of different size in both {zone} zones"),
        ("", "{sev} nodular and mass-like opacities in both {zone} lungs"),
    ),
    "Edema": (
        ("{sev} pulmonary edema", None),
        ("{sev} interstitial edema", None),
        ("{sev} pulmonary vascular congestion with perihilar edema", None),
        ("{sev} bilateral perihilar haze consistent with edema", None),
    ),
    "Consolidation": (
        ("{sev} {side} {zone} lung consolidation", "{sev} bilateral {zone} lung consolidations"),
        ("{sev} {side} {zone} zone airspace consolidation",
         "{sev} bilateral {zone} zone airspace consolidations"),
        ("{sev} patchy consolidation in the {side} {zone} lung",
         "{sev} patchy consolidations in the {zone} zones of both lungs"),
        ("{sev} consolidation of the {side} {zone} lung field",
         "{sev} consolidation of both {zone} lung fields"),
    ),
    "Pneumonia": (
        ("{sev} {side} {zone} lung pneumonia", "{sev} pneumonia in both {zone} lungs"),
        ("{sev} pneumonia in the {side} {zone} zone", "{sev} bilateral {zone} zone pneumonia"),
        ("{sev} {side} {zone} zone lobar pneumonia with air bronchograms",
         "{sev} pneumonia with air bronchograms in both {zone} zones"),
        ("{sev} pneumonic consolidation in the {side} {zone} lung",
         "{sev} pneumonic consolidations in both {zone} lungs"),
        ("{sev} {side} {zone} consolidation compatible with pneumonia",
         "{sev} bilateral {zone} consolidation compatible with pneumonia"),
    ),
    "Atelectasis": (
        ("{sev} {side} {zone} zone atelectasis", "{sev} bilateral {zone} zone atelectasis"),
        ("{sev} linear atelectasis in the {side} {zone} lung",
         "{sev} linear atelectasis in the {zone} zones of both lungs"),
        ("{sev} {side} {zone} subsegmental atelectasis",
         "{sev} bilateral {zone} subsegmental atelectasis"),
        ("{sev} {side} {zone} lung volume loss with plate-like atelectasis",
         "{sev} plate-like atelectasis in both {zone} lungs"),
    ),
    "Pneumothorax": (
        ("{sev} {side} pneumothorax", None),
        ("{sev} {side} apical pneumothorax", None),
        ("{sev} pneumothorax on the {side}", None),
        ("{sev} {side} pneumothorax with a visible pleural line", None),
    ),
    "Pleural Effusion": (
        ("{sev} {side} pleural effusion", "{sev} bilateral pleural effusions"),
        ("{sev} {side} effusion", "{sev} bilateral effusions"),
        ("{sev} {side} sided pleural effusion", "{sev} pleural effusions on both sides"),
        ("{sev} pleural fluid on the {side}", "{sev} pleural fluid on both sides"),
        ("{sev} effusion with blunting of the {side} costophrenic angle",
         "{sev} effusions with blunting of both costophrenic angles"),
    ),
    "thickening": (
        ("{sev} {side} {zone} zone pleural thickening",
         "{sev} bilateral {zone} zone pleural thickening"),
        ("{sev} pleural thickening along the {side} {zone} chest wall",
         "{sev} pleural thickening along both chest walls"),
        ("{sev} {side} pleural scarring", "{sev} pleural scarring on both sides"),
        ("{sev} {side} lateral pleural thickening", "{sev} bilateral lateral pleural thickening"),
    ),
    "apical_cap": (
        ("{sev} {side} apical pleural thickening", "{sev} biapical pleural thickening"),
        ("{sev} pleural scarring at the {side} apex", "{sev} pleural scarring at both apices"),
        ("{sev} {side} apical pleural capping", "{sev} bilateral apical pleural capping"),
    ),
    "plaque": (
        ("{sev} {side} calcified pleural plaque", "{sev} bilateral calcified pleural plaques"),
        ("{sev} pleural plaque over the {side} {zone} zone",
         "{sev} pleural plaques over both {zone} zones"),
        ("{sev} {side} {zone} zone pleural calcification",
         "{sev} bilateral {zone} zone pleural calcification"),
    ),
    "rib": (
        ("{sev} {side} {zone} rib fracture", None),
        ("{sev} fracture of a {side} {zone} rib", None),
        ("{sev} {side} lateral rib fracture", None),
    ),
    "ribs": (
        ("{sev} {side} {zone} rib fractures", None),
        ("{sev} fractures of several {side} {zone} ribs", None),
        ("{sev} fractures of adjacent {side} ribs", None),
    ),
    "clavicle": (
        ("{sev} {side} clavicle fracture", None),
        ("{sev} fracture of the {side} clavicle", None),
        ("{sev} {side} midshaft clavicular fracture", None),
    ),
}  # fmt: skip
ALWAYS_PLURAL = ("ribs",)
# Where one of these is in a phrase, it takes no article and no plural.
UNCOUNTABLE = (
    "widening", "enlargement", "prominence", "cardiomegaly", "scarring", "edema", "haze",
    "congestion", "lung consolidation", "consolidation of", "pneumonia", "atelectasis", "fluid",
    "thickening", "capping", "calcification",
)  # fmt: skip

SEVERITY: dict[str, dict[str, tuple[str, ...]]] = {
    "Cardiomegaly": {
        "mild": ("mild", "slight"),
        "moderate": ("moderate",),
        "severe": ("severe", "marked"),
    },
    "Pleural Effusion": {
        "mild": ("small", "trace", "minimal", "mild"),
        "moderate": ("moderate", "moderate-sized"),
        "severe": ("large", "severe"),
    },
    "Pneumothorax": {
        "mild": ("small", "tiny", "minimal"),
        "moderate": ("moderate", "moderate-sized"),
        "severe": ("large", "severe"),
    },
    "Lung Lesion": {
        "mild": ("small", "tiny"),
        "moderate": ("", "medium-sized", "moderate-sized"),
        "severe": ("large", "prominent"),
    },
    "Fracture": {
        "mild": ("nondisplaced", "minimally displaced", "subtle"),
        "moderate": ("displaced", "moderately displaced", ""),
        "severe": ("severely displaced", "markedly displaced"),
    },
}
SEVERITY["Enlarged Cardiomediastinum"] = SEVERITY["Cardiomegaly"]
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
