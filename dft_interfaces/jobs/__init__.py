"""One label, or a batch of cheap ones, as one pyiron_base job."""
