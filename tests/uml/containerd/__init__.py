"""containerd with its shim for runc, called by ctr and, as by Kubernetes, over CRI."""
