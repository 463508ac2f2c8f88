"""One module a peer. Each runs in an interpreter that has the peer, which need not have xrt."""
