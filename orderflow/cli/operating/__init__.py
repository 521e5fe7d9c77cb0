"""What an operator does to orders, letters and topics: repairs, replays and bulk acts."""
