"""Single steps beside a campaign, one function a file: label, train, predict, compare, validate, rank, barrier."""
