"""What heads on teacher features and stand-alone trunks share: an image side, maybe a text side, projections, a logit scale."""
