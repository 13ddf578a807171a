"""Jobs that train, as their commands: methods compared, lottery tickets, dynamic networks, a latency reached."""
