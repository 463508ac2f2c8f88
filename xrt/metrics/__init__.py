"""Metrics of a ranking of labels.

Reading order: `ranking` (P, R, nDCG, coverage at k), `propensity` (PSP, PSnDCG), `classification`
(F1 of label sets), `frequency_bins` (head and tail apart), `report` (all of it in one table),
`comparison` (two models side by side), `calibration` (whether scores are probabilities), `tables`
(aligned text).
"""
