"""Studies: what takes many trainings to know, of methods, tickets and schedules, with seeds and their errors."""
