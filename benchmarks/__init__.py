"""Measurements that README and docs cite. Run by ``make bench``."""
