"""The names of the harnesses, without what they import, and the two ways of making contents for them."""

NAMES = (
    "reports", "logs", "artefacts", "ledger", "summary", "solution", "recipe", "target", "fixed", "scaler",
    "network", "network_structure", "jets", "jets_classes", "root",
    "onnx", "keras_h5", "keras_config", "hgq_config", "pt2_program",
)  # fmt: skip
ENGINES = ("bytes", "edits")
