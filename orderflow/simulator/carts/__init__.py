"""What a cart says, checked as Digital River checks it: its parties, its products and their tax codes.

No request is answered here.
"""
