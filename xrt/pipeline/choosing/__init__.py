"""A run chooses settings of the linear model on held-out rows of its own training corpus.

aspects   what can be chosen, and what is tried
trial     one try on some rows
work      how much work a training is, counted
contest   successive halving over subsamples
choices   what was chosen, and all that was tried
memory    tries that were made before a kill
stage     the stage `choices`
"""
