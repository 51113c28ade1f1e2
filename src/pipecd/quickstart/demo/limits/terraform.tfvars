requests = 100
