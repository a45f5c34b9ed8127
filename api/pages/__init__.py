"""Pages for people, where no shop of your own serves them yet."""
