terraform {
  backend "local" {
    path = "@STATE@/terraform/limits.tfstate"
  }
}

variable "requests" {
  type = number
}

resource "terraform_data" "limit" {
  input            = var.requests
  triggers_replace = var.requests

  provisioner "local-exec" {
    command = "mkdir -p \"$FOLDER\" && printf '%s\\n' \"$REQUESTS\" > \"$FOLDER/requests.txt\""
    environment = {
      FOLDER   = "@STATE@/deployed/limits"
      REQUESTS = var.requests
    }
  }
}
