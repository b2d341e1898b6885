"""The parts of `segnb.data.doctor.check_dataset`: look, understand the masks, check, report, fix."""
