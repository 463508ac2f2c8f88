"""The hierarchical label tree: how it is grown, who is a candidate at a level, how scores join
along a path.
"""
