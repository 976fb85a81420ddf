"""Golden answers: labels and scores that a change of the code must not change unnoticed."""
