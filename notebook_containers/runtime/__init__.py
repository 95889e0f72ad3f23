"""OCI runtime verbs on a bundle. Has never seen an image."""
