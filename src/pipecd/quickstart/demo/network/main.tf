terraform {
  backend "local" {
    path = "@STATE@/terraform/network.tfstate"
  }
}

variable "subnets" {
  type = list(string)
}

resource "terraform_data" "subnet" {
  for_each = toset(var.subnets)
  input    = each.value
}

output "subnets" {
  value = [for subnet in terraform_data.subnet : subnet.output]
}
