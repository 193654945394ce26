"""Docker with runc and with minirunc, in User-Mode Linux."""
