terraform {
  backend "local" {
    path = "@STATE@/terraform/greeting.tfstate"
  }
}

resource "terraform_data" "greeting" {
  input            = file("${path.module}/greeting.txt")
  triggers_replace = file("${path.module}/greeting.txt")

  provisioner "local-exec" {
    command = "mkdir -p \"$FOLDER\" && printf '%s' \"$GREETING\" > \"$FOLDER/greeting.txt\""
    environment = {
      FOLDER   = "@STATE@/deployed/greeting"
      GREETING = self.input
    }
  }
}
