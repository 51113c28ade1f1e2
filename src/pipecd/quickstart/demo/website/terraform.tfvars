headline = "Hello from Git"
