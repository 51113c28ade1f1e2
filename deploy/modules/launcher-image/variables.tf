variable "name" {
  description = "Name of the agent; prefix of the repository's name."
  type        = string
}

variable "module" {
  description = "Directory of the calling module below deploy/, for error messages."
  type        = string
}

variable "source_image" {
  description = "Launcher image to copy, as registry/repository:tag. If empty, the image is built from this repository."
  type        = string
}

variable "push_image" {
  description = "Build or copy the image with docker on this machine."
  type        = bool
}

variable "image_tag" {
  description = "Tag of the image. If empty, it is derived from the image's sources or from source_image."
  type        = string
}

variable "platform" {
  description = "Platform of the image: linux/amd64 or linux/arm64."
  type        = string
  default     = "linux/amd64"
}

variable "tags" {
  description = "Tags of the repository."
  type        = map(string)
}
