//! `--device` to a Burn device, probed before first use so that a missing driver is a message.
