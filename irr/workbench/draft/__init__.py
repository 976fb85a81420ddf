"""Draft: a label space from texts, by clusters or by a language model."""

from irr.workbench.draft.clusters import texts_of
from irr.workbench.draft.label_draft import SETTINGS, DraftPlan, LabelDraft, check_seed_labels, draft

__all__ = ["SETTINGS", "DraftPlan", "LabelDraft", "check_seed_labels", "draft", "texts_of"]
