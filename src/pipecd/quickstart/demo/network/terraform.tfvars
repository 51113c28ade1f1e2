# Add a subnet, then commit and push.
subnets = ["10.0.1.0/24", "10.0.2.0/24"]
