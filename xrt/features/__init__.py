"""Text to numbers.

`tfidf` turns texts into sparse rows X, `label_features` turns X and Y into one row for each label.
"""
