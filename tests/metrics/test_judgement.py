"""A learnt step beside its plain alternative."""

import pytest

from xrt.metrics.judgement import Judgement, is_better, judgement_table


@pytest.mark.parametrize(
    ("gain", "error", "better"),
    [(0.02, 0.01, True), (0.01, 0.01, True), (0.009, 0.01, False), (0.0, 0.0, False),
     (-0.02, 0.01, False), (0.5, None, False)],
)  # fmt: skip
def test_better_is_by_a_standard_error(gain, error, better):
    assert is_better(gain, error) is better


def test_the_table_has_both_figures_the_error_and_what_ships():
    steps = [
        Judgement(name="fusion", plain_name="linear alone", figure="P@1", plain=0.5, learnt=0.6,
                  error=0.0123, ships=True),
        Judgement(name="bins", plain_name="one curve", figure="ECE@5", plain=0.01, learnt=0.02,
                  error=None, ships=False, note="ranks are worse"),
    ]  # fmt: skip
    header, fusion, bins = judgement_table(steps).split("\n")
    assert header.split()[0] == "step"
    assert fusion.split()[-5:] == ["P@1", "50.00", "60.00", "1.23", "learnt"]
    assert bins.split()[-7:] == ["1.00", "2.00", "-", "plain", "(ranks", "are", "worse)"]
    assert [Judgement.from_dict(step.to_dict()) for step in steps] == steps
