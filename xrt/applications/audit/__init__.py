"""`xrt audit`: which labels of a corpus look wrong or missing, with the evidence for each."""
