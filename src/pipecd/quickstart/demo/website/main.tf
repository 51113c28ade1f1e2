terraform {
  backend "local" {
    path = "@STATE@/terraform/website.tfstate"
  }
}

variable "headline" {
  type = string
}

resource "terraform_data" "page" {
  input            = var.headline
  triggers_replace = var.headline

  provisioner "local-exec" {
    command = "mkdir -p \"$FOLDER\" && printf '<h1>%s</h1>\\n' \"$HEADLINE\" > \"$FOLDER/index.html\""
    environment = {
      FOLDER   = "@STATE@/deployed/website"
      HEADLINE = var.headline
    }
  }
}
