"""What becomes of one attribute cell, as the rules read."""


def decide_cell(
    code, free, free_score, completed, completed_score, given_score, blank, least, overwrite
):
    """`code`: label column, -1 for an empty cell, -2 for a value unknown to the model.

    Returns (label column written or None, score or None, outcome, disagrees).
    """
    disagrees = code != -1 and free >= 0 and free != code
    chosen, score = (free, free_score) if overwrite else (completed, completed_score)
    kept_score = given_score if code >= 0 else None
    if code != -1 and (not overwrite or chosen == code):
        return None, kept_score, "kept", disagrees
    if chosen < 0:
        return None, kept_score, "nothing", disagrees
    if score < least:
        return None, kept_score, "unsure" if code == -1 else "kept", disagrees
    if code == -1 and chosen in blank:
        return None, score, "none", disagrees
    return chosen, score, "filled", disagrees


def decide_levels(cells, none, least, overwrite):
    """Which levels of one row are decided, coarse to fine; each (code, column, probability)."""
    decided, whole = [], True
    for code, column, probability in cells:
        wanted = column >= 0 and (code == -1 or (overwrite and column != code))
        writes = wanted and probability >= least
        if writes and column not in none and not whole:
            writes = False
        decided.append(writes)
        has_value = column not in none if writes else code != -1 and code not in none
        whole = whole and has_value
    return decided
