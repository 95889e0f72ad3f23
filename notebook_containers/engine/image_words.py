"""Words of the image verbs that the command line knows before anything is loaded."""

SAVED_FORMATS = ("docker-archive", "oci-archive", "oci-dir", "docker-dir")
