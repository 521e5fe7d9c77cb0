"""What the simulator remembers and computes with: records, prices, payment methods, its clock.

No request is answered here.
"""
