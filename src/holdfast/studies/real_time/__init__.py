"""What inference delay costs, and what each way to act meanwhile gives back, on five tasks."""
