"""What an order waits for by time: its deadlines, parked events that expire, and looks at Digital River. No guard, no table."""
