"""Actions: what operators do to many records at once, which survives the death of whoever started it.

Pure: ``records``, ``selection``, ``tracker``, ``outcomes``, ``redelivery``, ``verdict``. Kafka: ``reading``, ``execution``,
``attempt``, ``writing``, ``acting``. Everything that reaches an order goes through ``orderflow.inbox``.
"""
