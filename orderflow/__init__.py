"""What a person starts: the command line, the settings, Digital River's client and simulator, the embedded broker."""

__version__ = "0.2.0"
