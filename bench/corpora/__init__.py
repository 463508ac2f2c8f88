"""The corpora of the suite: one function a set.

Real ones are made of files, others are made up from a seed.

`registry.SETS` names them; `corpus.SuiteCorpus` is what each gives.
"""
