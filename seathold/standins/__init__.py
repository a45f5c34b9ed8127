"""Stand-ins for companies outside: processes of their own that share no code with Seathold."""
