"""``orderflow webhooks backfill`` and ``orderflow reconcile``: what Digital River knows and did not arrive here."""
