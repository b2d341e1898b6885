"""What several architectures share, by idea; `segnb.blocks` has what is smaller."""
