"""An embedded Kafka for the demo, fast tests and simulation, never for production. ``EmbeddedKafka`` is all of it."""

from orderflow.embedded_kafka.server import EmbeddedKafka

__all__ = ["EmbeddedKafka"]
