"""What a model's card, the README.md beside its weights, says about licence and training data."""

from __future__ import annotations

from pathlib import Path


def read_card(folder: Path) -> dict[str, str]:
    """Read the head of a model card.

    Args:
        folder: may hold a README.md.

    Returns:
        ``licence`` and ``trained_on``, each only if the card says it.
    """
    from huggingface_hub import ModelCard

    path = folder / "README.md"
    if not path.is_file():
        return {}
    try:
        facts = ModelCard(path.read_text(encoding="utf-8"), ignore_metadata_errors=True).data
    except Exception:  # a card is text of anyone; nothing depends on it
        return {}
    datasets = [facts.datasets] if isinstance(facts.datasets, str) else facts.datasets or []
    said = {"licence": facts.license_name or facts.license, "trained_on": ", ".join(map(str, datasets))}
    return {name: str(value) for name, value in said.items() if value}
